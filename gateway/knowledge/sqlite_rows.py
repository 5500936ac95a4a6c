"""The tables of the SQLite store, and what is done to rows in a transaction that the store began."""

import sqlite3
from collections import defaultdict

import msgspec

from gateway.core.facts import Attributes
from gateway.core.values import Value
from gateway.knowledge.chunks import CHUNKER, Chunk, Passage
from gateway.knowledge.document import Document
from gateway.knowledge.ranking import Ranking
from gateway.knowledge.sqlite_words import RANGE_BITS, add_words, drop_words, remove_words, split_words
from gateway.knowledge.stores import Entry, Pass, Put

STARTING_SECONDS = 600  # For another worker's start, which may bring a large file up to date.

SCHEMA = """
CREATE TABLE IF NOT EXISTS knowledge (version INTEGER NOT NULL);
INSERT INTO knowledge SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM knowledge);
CREATE TABLE IF NOT EXISTS collections (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL DEFAULT 0,
    next_chunk INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0, embedder TEXT);
CREATE TABLE IF NOT EXISTS sources (
    collection INTEGER NOT NULL, key TEXT NOT NULL, cursor TEXT, synced_at REAL,
    mark TEXT, number INTEGER NOT NULL DEFAULT 0, is_census INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (collection, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
    title TEXT NOT NULL, url TEXT, version TEXT NOT NULL, chunker TEXT NOT NULL,
    filename TEXT NOT NULL DEFAULT '', attributes TEXT NOT NULL DEFAULT '[]', readers TEXT,
    named INTEGER NOT NULL DEFAULT 0,
    UNIQUE (collection, source, name));
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    path TEXT NOT NULL, text TEXT NOT NULL, hash TEXT NOT NULL, tokens INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_by_document ON chunks (document);
CREATE TABLE IF NOT EXISTS embedders (name TEXT PRIMARY KEY, dimension INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors (
    embedder TEXT NOT NULL, chunk INTEGER NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (embedder, chunk)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS chunk_gone AFTER DELETE ON chunks BEGIN
    DELETE FROM vectors WHERE chunk = old.id AND embedder IN (SELECT name FROM embedders);
END;
CREATE INDEX IF NOT EXISTS documents_restricted ON documents (collection) WHERE readers IS NOT NULL;
"""
# What files of before this version lack, by table.
_ADDED = {
    "collections": ("embedder TEXT",),
    "sources": ("mark TEXT", "number INTEGER NOT NULL DEFAULT 0", "is_census INTEGER NOT NULL DEFAULT 0"),
    "documents": (
        "filename TEXT NOT NULL DEFAULT ''",
        "attributes TEXT NOT NULL DEFAULT '[]'",
        "readers TEXT",
        "named INTEGER NOT NULL DEFAULT 0",
    ),
}
# The vectors of an older file were all that served.
_SERVING = """
UPDATE collections SET embedder = (
    SELECT embedder FROM vectors WHERE embedder IN (SELECT name FROM embedders)
    AND chunk BETWEEN number << 40 AND ((number + 1) << 40) - 1 LIMIT 1)
"""
_read_attributes = msgspec.json.Decoder(Attributes).decode
_read_readers = msgspec.json.Decoder(tuple[str, ...]).decode


def prepare(db: sqlite3.Connection) -> None:
    """Makes the tables, or brings those of an older file up to date; its documents stay."""
    usual = db.execute("PRAGMA busy_timeout").fetchone()[0]
    db.execute(f"PRAGMA busy_timeout = {STARTING_SECONDS * 1000}")
    db.execute("BEGIN IMMEDIATE")
    has_tables = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'documents'").fetchone()
    for table, columns in _ADDED.items() if has_tables else ():
        there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for column in columns:
            if column.partition(" ")[0] not in there:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
                if column == "embedder TEXT":
                    db.execute(_SERVING)
    split_words(db)
    db.execute("COMMIT")
    db.executescript(SCHEMA)
    db.execute(f"PRAGMA busy_timeout = {usual}")


def read_attributes(text: str) -> Attributes:
    """A document's attributes as they were written."""
    return _read_attributes(text)


def read_readers(text: str | None) -> tuple[str, ...] | None:
    """A document's readers as they were written; None when all of the collection's may read it."""
    return None if text is None else _read_readers(text)


class Place(Value, frozen=True):
    """A collection as one transaction sees it: `chunks` chunks with ids from low to high."""

    number: int
    version: int
    chunks: int

    @property
    def low(self) -> int:
        """The first id of its range."""
        return self.number << RANGE_BITS

    @property
    def high(self) -> int:
        """The last id of its range."""
        return self.low + (1 << RANGE_BITS) - 1


def find_place(db: sqlite3.Connection, collection: str) -> Place | None:
    """The collection of this name, or None when nothing was ever written to it."""
    row = db.execute("SELECT number, version, chunks FROM collections WHERE name = ?", (collection,)).fetchone()
    return Place(*row) if row else None


def make_place(db: sqlite3.Connection, collection: str) -> int:
    """The number of a collection, given out when it is new."""
    place = find_place(db, collection)
    if place is not None:
        return place.number
    return int(db.execute("INSERT INTO collections (name) VALUES (?)", (collection,)).lastrowid or 0)


def replace_chunks(db: sqlite3.Connection, number: int, document: int, chunks: tuple[Chunk, ...]) -> int:
    """Makes `chunks` the chunks of a document; how many more these are than before.

    A chunk whose hash was there before keeps its row, and with it its id, words and vector. Ids are never
    given twice, so what is in memory under an id is never wrong, only gone.
    """
    kept: defaultdict[str, list[int]] = defaultdict(list)
    before = db.execute("SELECT id, hash FROM chunks WHERE document = ? ORDER BY id DESC", (document,)).fetchall()
    for row in before:
        kept[row[1]].append(row[0])
    fresh = []
    for chunk in chunks:
        if kept[chunk.hash]:
            db.execute("UPDATE chunks SET ordinal = ? WHERE id = ?", (chunk.ordinal, kept[chunk.hash].pop()))
        else:
            fresh.append(chunk)
    _drop_chunks(db, number, [row for rows in kept.values() for row in rows])
    first = int(db.execute("SELECT next_chunk FROM collections WHERE number = ?", (number,)).fetchone()[0])
    db.executemany(
        "INSERT INTO chunks (id, document, ordinal, path, text, hash, tokens) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            ((number << RANGE_BITS) + i, document, c.ordinal, c.path, c.text, c.hash, c.tokens)
            for i, c in enumerate(fresh, first)
        ],
    )
    if fresh:
        low = (number << RANGE_BITS) + first
        add_words(db, number, [(low + i, chunk.path, chunk.text) for i, chunk in enumerate(fresh)])
    db.execute("UPDATE collections SET next_chunk = ? WHERE number = ?", (first + len(fresh), number))
    return len(chunks) - len(before)


def drop_documents(db: sqlite3.Connection, number: int, rows: list[tuple[int]]) -> int:
    """Removes documents of a collection by (id,) with their chunks; how many chunks that were."""
    gone = 0
    for row in rows:
        chunks = [one[0] for one in db.execute("SELECT id FROM chunks WHERE document = ?", row)]
        _drop_chunks(db, number, chunks)
        gone += len(chunks)
        db.execute("DELETE FROM documents WHERE id = ?", row)
    return gone


def _drop_chunks(db: sqlite3.Connection, number: int, ids: list[int]) -> None:
    if not ids:
        return
    texts = "SELECT id, path, text FROM chunks WHERE id = ?"
    remove_words(db, number, [db.execute(texts, (row,)).fetchone() for row in ids])
    db.executemany("DELETE FROM chunks WHERE id = ?", [(row,) for row in ids])


def put_entry(db: sqlite3.Connection, number: int, source: str, entry: Entry, named: int) -> Put:
    """Writes one document and its chunks. An unchanged one costs a read, and a stamp in a pass of another number."""
    document = entry.document
    old = db.execute(
        "SELECT id, version, chunker, named FROM documents WHERE collection = ? AND source = ? AND name = ?",
        (number, source, document.id),
    ).fetchone()
    if old and old[1:3] == (document.version, CHUNKER):
        # Never lowered: of two processes that pass over one source at once, neither takes the other's for gone.
        if old[3] < named:
            db.execute("UPDATE documents SET named = ? WHERE id = ?", (named, old[0]))
        return "unchanged"
    columns = "title, url, version, chunker, filename, attributes, readers, named"
    if old:
        row = int(old[0])
        update = f"UPDATE documents SET ({columns}) = ({_marks(8)}) WHERE id = ?"  # noqa: S608 - only `?` marks
        db.execute(update, (*_values(document, max(named, old[3])), row))
    else:
        made = db.execute(
            f"INSERT INTO documents ({columns}, collection, source, name) VALUES ({_marks(11)})",  # noqa: S608 - only `?` marks
            (*_values(document, named), number, source, document.id),
        )
        row = int(made.lastrowid or 0)
    growth = replace_chunks(db, number, row, entry.chunks)
    mark_changed(db, number, growth, source)
    return "updated" if old else "added"


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _values(document: Document, named: int) -> tuple[object, ...]:
    attributes = msgspec.json.encode(document.attributes).decode()
    readers = None if document.readers is None else msgspec.json.encode(document.readers).decode()
    return (
        document.title,
        document.url,
        document.version,
        CHUNKER,
        document.filename,
        attributes,
        readers,
        named,
    )


def begin_pass(db: sqlite3.Connection, number: int, source: str, *, anew: bool) -> Pass:
    """The pass that is due over a source; see Store.begin."""
    key = (number, source)
    found = db.execute(
        "SELECT cursor, mark, number, is_census FROM sources WHERE collection = ? AND key = ?", key
    ).fetchone()
    cursor, mark, before, was_census = found or (None, None, 0, 0)
    if mark is not None and not anew:
        return Pass(before, mark, is_census=bool(was_census))
    if cursor is not None and not anew:
        # Nothing to write down: without a census nobody asks what this pass has named.
        return Pass(before, cursor, is_census=False)
    db.execute(
        "INSERT INTO sources (collection, key, cursor, number, is_census) VALUES (?, ?, NULL, ?, 1) "
        "ON CONFLICT DO UPDATE SET mark = NULL, cursor = NULL, number = excluded.number, is_census = 1",
        (*key, before + 1),
    )
    return Pass(before + 1, None, is_census=True)


def mark_changed(db: sqlite3.Connection, number: int, growth: int, source: str | None) -> None:
    """Raises the version by one, and counts the chunks.

    source: forgets its cursor until the pass is finished; a pass that was killed is then begun anew, and
    finds what was removed meanwhile.
    """
    db.execute("UPDATE knowledge SET version = version + 1")
    db.execute(
        "UPDATE collections SET version = (SELECT version FROM knowledge), chunks = chunks + ? WHERE number = ?",
        (growth, number),
    )
    if growth < 0 and not db.execute("SELECT chunks FROM collections WHERE number = ?", (number,)).fetchone()[0]:
        drop_words(db, number)
    if source is not None:
        db.execute("UPDATE sources SET cursor = NULL WHERE collection = ? AND key = ?", (number, source))


def read_passages(db: sqlite3.Connection, ranking: Ranking) -> tuple[Passage, ...]:
    """The passages of a ranking, in its order."""
    passages = []
    for row, score in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True):
        found = db.execute(
            "SELECT n.name, d.name, d.version, d.title, c.text, d.url, c.tokens, d.filename, d.attributes, "
            "c.ordinal, c.path, d.readers FROM chunks c "
            "JOIN documents d ON d.id = c.document JOIN collections n ON n.number = d.collection "
            "WHERE c.id = ?",
            (row,),
        ).fetchone()
        collection, document, version, title, text, url, tokens, filename, attributes, ordinal, path, readers = found
        passages.append(
            Passage(
                collection,
                document,
                version,
                title,
                text,
                score,
                url,
                tokens,
                filename,
                read_attributes(attributes),
                ordinal=ordinal,
                path=path,
                readers=read_readers(readers),
            )
        )
    return tuple(passages)
