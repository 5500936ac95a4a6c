"""The tables of the SQLite store, and what is done to rows in a transaction that the store began."""

import sqlite3
from collections import defaultdict

from gateway.core.values import Value
from gateway.knowledge.chunks import Chunk, Passage
from gateway.knowledge.ranking import Ranking

RANGE_BITS = 40  # A trillion chunks each; ids of the first 8,000 collections stay exact even as float64.

SCHEMA = """
CREATE TABLE IF NOT EXISTS knowledge (version INTEGER NOT NULL);
INSERT INTO knowledge SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM knowledge);
CREATE TABLE IF NOT EXISTS collections (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL DEFAULT 0,
    next_chunk INTEGER NOT NULL DEFAULT 0, chunks INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS sources (
    collection INTEGER NOT NULL, key TEXT NOT NULL, cursor TEXT, synced_at REAL,
    PRIMARY KEY (collection, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY, collection INTEGER NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
    title TEXT NOT NULL, url TEXT, version TEXT NOT NULL, chunker TEXT NOT NULL,
    UNIQUE (collection, source, name));
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    path TEXT NOT NULL, text TEXT NOT NULL, hash TEXT NOT NULL, tokens INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_by_document ON chunks (document);
CREATE VIRTUAL TABLE IF NOT EXISTS chunks_fts USING fts5(
    path, text, content='chunks', content_rowid='id', tokenize='porter unicode61');
CREATE TABLE IF NOT EXISTS embedders (name TEXT PRIMARY KEY, dimension INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vectors (
    embedder TEXT NOT NULL, chunk INTEGER NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (embedder, chunk)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS chunk_added AFTER INSERT ON chunks BEGIN
    INSERT INTO chunks_fts (rowid, path, text) VALUES (new.id, new.path, new.text);
END;
CREATE TRIGGER IF NOT EXISTS chunk_removed AFTER DELETE ON chunks BEGIN
    INSERT INTO chunks_fts (chunks_fts, rowid, path, text) VALUES ('delete', old.id, old.path, old.text);
    DELETE FROM vectors WHERE chunk = old.id AND embedder IN (SELECT name FROM embedders);
END;
"""


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
    db.executemany("DELETE FROM chunks WHERE id = ?", [(row,) for rows in kept.values() for row in rows])
    first = int(db.execute("SELECT next_chunk FROM collections WHERE number = ?", (number,)).fetchone()[0])
    db.executemany(
        "INSERT INTO chunks (id, document, ordinal, path, text, hash, tokens) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            ((number << RANGE_BITS) + i, document, c.ordinal, c.path, c.text, c.hash, c.tokens)
            for i, c in enumerate(fresh, first)
        ],
    )
    db.execute("UPDATE collections SET next_chunk = ? WHERE number = ?", (first + len(fresh), number))
    return len(chunks) - len(before)


def drop_documents(db: sqlite3.Connection, rows: list[tuple[int]]) -> int:
    """Removes documents by (id,) with their chunks; how many chunks that were."""
    gone = 0
    for row in rows:
        gone += db.execute("DELETE FROM chunks WHERE document = ?", row).rowcount
        db.execute("DELETE FROM documents WHERE id = ?", row)
    return gone


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
    if source is not None:
        db.execute("UPDATE sources SET cursor = NULL WHERE collection = ? AND key = ?", (number, source))


def read_passages(db: sqlite3.Connection, ranking: Ranking) -> tuple[Passage, ...]:
    """The passages of a ranking, in its order."""
    passages = []
    for row, score in zip(ranking.ids.tolist(), ranking.scores.tolist(), strict=True):
        found = db.execute(
            "SELECT n.name, d.name, d.version, d.title, c.text, d.url, c.tokens, c.ordinal, c.path "
            "FROM chunks c "
            "JOIN documents d ON d.id = c.document JOIN collections n ON n.number = d.collection "
            "WHERE c.id = ?",
            (row,),
        ).fetchone()
        collection, document, version, title, text, url, tokens, ordinal, path = found
        passages.append(
            Passage(collection, document, version, title, text, score, url, tokens, ordinal=ordinal, path=path)
        )
    return tuple(passages)
