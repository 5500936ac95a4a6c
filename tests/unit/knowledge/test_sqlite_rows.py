"""A knowledge.db that an older version left opens with everything it holds; each collection has its own words."""

import sqlite3
from pathlib import Path

import numpy as np

from gateway.knowledge.chunks import CHUNKER, cut
from gateway.knowledge.document import write_document
from gateway.knowledge.sqlite_search import Searcher
from gateway.knowledge.stores import Ask, Entry, Probe
from gateway.knowledge.stores.sqlite import SqliteStore

# The tables as they were before documents had readers, and passes marks.
BEFORE = """
CREATE TABLE knowledge (version INTEGER NOT NULL);
INSERT INTO knowledge VALUES (7);
CREATE TABLE collections (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL DEFAULT 0,
    next_chunk INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0);
CREATE TABLE sources (collection INTEGER NOT NULL, key TEXT NOT NULL, cursor TEXT, synced_at REAL,
    PRIMARY KEY (collection, key)) WITHOUT ROWID;
CREATE TABLE documents (id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
    title TEXT NOT NULL, url TEXT, version TEXT NOT NULL, chunker TEXT NOT NULL, UNIQUE (collection, source, name));
CREATE TABLE chunks (id INTEGER PRIMARY KEY, document INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    path TEXT NOT NULL, text TEXT NOT NULL, hash TEXT NOT NULL, tokens INTEGER NOT NULL);
CREATE VIRTUAL TABLE chunks_fts USING fts5(
    path, text, content='chunks', content_rowid='id', tokenize='porter unicode61');
CREATE TABLE embedders (name TEXT PRIMARY KEY, dimension INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE vectors (embedder TEXT NOT NULL, chunk INTEGER NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (embedder, chunk)) WITHOUT ROWID;
CREATE TRIGGER chunk_added AFTER INSERT ON chunks BEGIN
    INSERT INTO chunks_fts (rowid, path, text) VALUES (new.id, new.path, new.text);
END;
INSERT INTO collections VALUES (1, 'help', 7, 1, 1);
INSERT INTO sources VALUES (1, 's', 'c1', 1.0);
"""


def older_file(path: Path) -> None:
    document = write_document("a", "About a", "The swordfish swims.")
    (chunk,) = cut(document)
    with sqlite3.connect(path) as db:
        db.executescript(BEFORE)
        values = (1, 1, "s", document.id, document.title, None, document.version, CHUNKER)
        db.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        db.execute(
            "INSERT INTO chunks VALUES (?, 1, 0, ?, ?, ?, ?)",
            (1 << 40, chunk.path, chunk.text, chunk.hash, chunk.tokens),
        )
        db.execute("INSERT INTO embedders VALUES ('e', 2)")
        db.execute("INSERT INTO vectors VALUES ('e', ?, ?)", (1 << 40, np.array([1, 0], np.float16).tobytes()))
    db.close()


async def test_an_older_file_opens_with_all_it_holds(tmp_path: Path) -> None:
    older_file(tmp_path / "k.db")
    for _ in range(2):
        store = SqliteStore(tmp_path / "k.db")
        assert await store.counts() == {"help": (1, 1)}
        assert await store.cursor("help", "s") == "c1"
        assert await store.serving() == {"help": "e"}
        probes = {"help": Probe("e", np.array([1, 0], np.float32))}
        for text, asked in (("swordfish", {}), ("zzz", probes)):
            (hit,) = (await store.search(Ask(text, "t", ("help",), 5, asked))).passages
            assert (hit.document, hit.attributes, hit.filename, hit.readers) == ("a", (), "", None)
        document = write_document("a", "About a", "The swordfish swims.")
        assert await store.put("help", "s", [Entry(document, cut(document))]) == ("unchanged",)
        await store.close()


async def put(store: SqliteStore, collection: str, name: str, text: str) -> None:
    document = write_document(name, f"About {name}", text)
    await store.put(collection, "s", [Entry(document, cut(document))])


async def found(store: SqliteStore, collection: str, text: str) -> list[str]:
    return [hit.document for hit in (await store.search(Ask(text, "t", (collection,), 5, {}))).passages]


def full_text_tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'").fetchall()
    db.close()
    return {row[0] for row in rows}


async def test_the_words_of_an_older_file_are_split_by_collection(tmp_path: Path) -> None:
    """Also when an older version has opened the file since, and wrote to the table that it made anew."""
    path = tmp_path / "k.db"
    older_file(path)
    for n in range(2):
        store = SqliteStore(path)
        await put(store, "other", f"b{n}", f"The mackerel number{n} swims.")
        assert await found(store, "help", "swordfish") == ["a"]
        assert await found(store, "help", "mackerel") == []
        assert await found(store, "other", f"number{n}") == [f"b{n}"]
        await store.close()
        assert full_text_tables(path) == {"words_1", "words_2"}
        with sqlite3.connect(path) as db:
            db.execute("CREATE VIRTUAL TABLE chunks_fts USING fts5(path, text, content='chunks', content_rowid='id')")
        db.close()


async def test_a_search_looks_at_no_words_but_those_of_its_collection(tmp_path: Path) -> None:
    """Else it would cost what all the others hold."""
    path = tmp_path / "k.db"
    store = SqliteStore(path)
    for collection in ("help", "other"):
        await put(store, collection, "a", "The swordfish swims.")
    db = sqlite3.connect(path)
    read: set[str] = set()

    def allowed(action: int, table: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_READ and table:
            read.add(table)
        return sqlite3.SQLITE_OK

    db.set_authorizer(allowed)
    assert len(Searcher().rank(db, Ask("swordfish", "t", ("help",), 5, {})).ids) == 1
    db.close()
    await store.close()
    assert {table for table in read if table.startswith("words_")} >= {"words_1"}
    assert not {table for table in read if table.startswith(("words_2", "chunks"))}


async def test_a_collection_that_is_emptied_leaves_no_table(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "k.db")
    for text in ("swordfish", "mackerel"):
        await put(store, "help", "a", text)
        assert await found(store, "help", text) == ["a"]
        await store.remove("help", "s", "a")
        assert await found(store, "help", text) == []
        assert full_text_tables(tmp_path / "k.db") == set()
    await store.close()
