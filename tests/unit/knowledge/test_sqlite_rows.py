"""A knowledge.db that an older version left opens with everything it holds."""

import sqlite3
from pathlib import Path

import numpy as np

from gateway.knowledge.chunks import CHUNKER, cut
from gateway.knowledge.document import write_document
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
