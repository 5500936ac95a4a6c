"""Chunks in one SQLite file: words in FTS5, vectors as float16 searched by numpy.

Each collection owns a range of chunk ids. A search names that range inside the full-text query, so nothing
outside the asked collections is read, weighed or counted, and its cost does not grow with their number.
Words are asked for one at a time, not as one `OR` query: that gives BM25 with the collection's own word
rarities, tells for each chunk which words it holds, is two to three times faster, and can be kept.
"""

import contextlib
import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from gateway.core.errors import KnowledgeUnavailable
from gateway.knowledge.chunks import CHUNKER, Chunk, Passage
from gateway.knowledge.document import Document
from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.matrix import Matrix, PostingCache, VectorTable, refreshed
from gateway.knowledge.measure import Measured, measured
from gateway.knowledge.ranking import (
    Posting,
    Ranking,
    VectorEvidence,
    WordEvidence,
    merge_rankings,
    rank_both,
    rank_words,
    weigh_words,
)
from gateway.knowledge.sqlite_rows import (
    SCHEMA,
    Place,
    drop_documents,
    find_place,
    make_place,
    mark_changed,
    read_passages,
    replace_chunks,
)
from gateway.knowledge.stores import PendingChunk, Probe, Put
from gateway.knowledge.words import question_words

BUSY_SECONDS = 10.0


class SqliteStore:
    """A store in the file `path`, made when absent. Each thread reads over its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._write_lock = threading.Lock()
        self._postings = PostingCache()
        self._tables: dict[tuple[int, str], VectorTable] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        db = self._connection()
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA)

    def put(self, collection: str, source: str, document: Document, chunks: tuple[Chunk, ...]) -> Put:
        """See Store. An unchanged document costs one read and no write."""
        with self._writing() as db:
            number = make_place(db, collection)
            old = db.execute(
                "SELECT id, version, chunker FROM documents WHERE collection = ? AND source = ? AND name = ?",
                (number, source, document.id),
            ).fetchone()
            if old and old[1:] == (document.version, CHUNKER):
                return "unchanged"
            values = (document.title, document.url, document.version, CHUNKER)
            if old:
                row = int(old[0])
                db.execute(
                    "UPDATE documents SET title = ?, url = ?, version = ?, chunker = ? WHERE id = ?",
                    (*values, row),
                )
            else:
                row = int(
                    db.execute(
                        "INSERT INTO documents (title, url, version, chunker, collection, source, name) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (*values, number, source, document.id),
                    ).lastrowid
                    or 0
                )
            growth = replace_chunks(db, number, row, chunks)
            mark_changed(db, number, growth, source)
            return "updated" if old else "added"

    def remove(self, collection: str, source: str, document: str) -> bool:
        """See Store."""
        with self._writing() as db:
            number = make_place(db, collection)
            rows = db.execute(
                "SELECT id FROM documents WHERE collection = ? AND source = ? AND name = ?",
                (number, source, document),
            ).fetchall()
            if rows:
                mark_changed(db, number, -drop_documents(db, rows), source)
            return bool(rows)

    def keep_sources(self, collection: str, sources: Iterable[str]) -> int:
        """See Store."""
        keys = tuple(sources)
        others = f"collection = ? AND {{}} NOT IN ({', '.join('?' * len(keys))})"
        with self._writing() as db:
            number = make_place(db, collection)
            rows = db.execute(
                f"SELECT id FROM documents WHERE {others.format('source')}",  # noqa: S608 - only `?` marks
                (number, *keys),
            ).fetchall()
            if rows:
                mark_changed(db, number, -drop_documents(db, rows), None)
            db.execute(f"DELETE FROM sources WHERE {others.format('key')}", (number, *keys))  # noqa: S608
            return len(rows)

    def documents(self, collection: str, source: str) -> frozenset[str]:
        """See Store."""
        rows = self._connection().execute(
            "SELECT d.name FROM documents d JOIN collections c ON c.number = d.collection "
            "WHERE c.name = ? AND d.source = ?",
            (collection, source),
        )
        return frozenset(row[0] for row in rows)

    def current(self, document: str) -> dict[str, str]:
        """See Store."""
        query = (
            "SELECT c.name, d.version FROM documents d JOIN collections c ON c.number = d.collection WHERE d.name = ?"
        )
        return dict(self._connection().execute(query, (document,)).fetchall())

    def cursor(self, collection: str, source: str) -> str | None:
        """See Store."""
        row = self._connection().execute(
            "SELECT s.cursor FROM sources s JOIN collections c ON c.number = s.collection "
            "WHERE c.name = ? AND s.key = ?",
            (collection, source),
        )
        found = row.fetchone()
        return found[0] if found else None

    def finish(self, collection: str, source: str, cursor: str | None, at: float) -> None:
        """See Store."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO sources (collection, key, cursor, synced_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET cursor = excluded.cursor, synced_at = excluded.synced_at",
                (make_place(db, collection), source, cursor, at),
            )

    def counts(self) -> dict[str, tuple[int, int]]:
        """See Store."""
        rows = self._connection().execute(
            "SELECT c.name, (SELECT count(*) FROM documents d WHERE d.collection = c.number), c.chunks "
            "FROM collections c"
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    def synced_at(self) -> dict[tuple[str, str], float]:
        """When each (collection, source) was last passed over to its end, in Unix seconds."""
        rows = self._connection().execute(
            "SELECT c.name, s.key, s.synced_at FROM sources s JOIN collections c ON c.number = s.collection "
            "WHERE s.synced_at IS NOT NULL"
        )
        return {(row[0], row[1]): row[2] for row in rows}

    def pending(self, collection: str, embedder: str, limit: int) -> tuple[PendingChunk, ...]:
        """See Store."""
        db = self._connection()
        place = find_place(db, collection)
        if place is None:
            return ()
        rows = db.execute(
            "SELECT id, path, text FROM chunks c WHERE id BETWEEN ? AND ? AND NOT EXISTS "
            "(SELECT 1 FROM vectors v WHERE v.embedder = ? AND v.chunk = c.id) ORDER BY id LIMIT ?",
            (place.low, place.high, embedder, limit),
        )
        return tuple(PendingChunk(row[0], f"{row[1]}\n{row[2]}") for row in rows)

    def put_vectors(self, collection: str, embedder: str, ids: tuple[int, ...], rows: Matrix) -> None:
        """See Store."""
        dimension = rows.shape[1]
        blobs = [(embedder, row.tobytes(), i) for i, row in zip(ids, rows.astype(np.float16), strict=True)]
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO embedders VALUES (?, ?)", (embedder, dimension))
            before = db.execute("SELECT dimension FROM embedders WHERE name = ?", (embedder,)).fetchone()[0]
            if before != dimension:
                raise DimensionMismatch(
                    f"Embedder {embedder!r} gives {dimension} numbers a text; the store holds {before}."
                )
            db.executemany(
                "INSERT OR REPLACE INTO vectors (embedder, chunk, vector) SELECT ?1, id, ?2 FROM chunks WHERE id = ?3",
                blobs,
            )
            mark_changed(db, make_place(db, collection), 0, None)

    def search(
        self, question: str, collections: Iterable[str], probes: Mapping[str, Probe], limit: int
    ) -> tuple[Passage, ...]:
        """See Store. One read transaction: version, words, vectors and texts are of one moment."""
        names = tuple(dict.fromkeys(collections))
        words = question_words(question)
        try:
            with self._reading() as db:
                rankings = [
                    self._ranked(db, place, words, probes.get(name), limit)
                    for name in names
                    if (place := find_place(db, name)) is not None
                ]
                return read_passages(db, merge_rankings(rankings, limit))
        except sqlite3.Error as fault:
            raise KnowledgeUnavailable(f"The knowledge store cannot be read: {fault}.") from fault

    def measure(self, question: str, collections: Iterable[str], probes: Mapping[str, Probe]) -> dict[str, Measured]:
        """See Store."""
        words = question_words(question)
        try:
            with self._reading() as db:
                return {
                    name: measured(*self._weighed(db, place, words, probes.get(name)))
                    for name in dict.fromkeys(collections)
                    if (place := find_place(db, name)) is not None
                }
        except sqlite3.Error as fault:
            raise KnowledgeUnavailable(f"The knowledge store cannot be read: {fault}.") from fault

    def version(self) -> int:
        """See Store."""
        try:
            return int(self._connection().execute("SELECT version FROM knowledge").fetchone()[0])
        except sqlite3.Error as fault:
            raise KnowledgeUnavailable(f"The knowledge store cannot be read: {fault}.") from fault

    def collection_version(self, collection: str) -> int:
        """The store's version when this collection last changed; 0 when it never did."""
        row = self._connection().execute("SELECT version FROM collections WHERE name = ?", (collection,))
        found = row.fetchone()
        return int(found[0]) if found else 0

    def close(self) -> None:
        """See Store. Call it when no thread searches any more."""
        with self._guard:
            while self._open:
                self._open.pop().close()

    def _ranked(
        self, db: sqlite3.Connection, place: Place, words: tuple[str, ...], probe: Probe | None, limit: int
    ) -> Ranking:
        evidence, vectors = self._weighed(db, place, words, probe)
        return rank_words(evidence, limit) if vectors is None else rank_both(evidence, vectors, limit)

    def _weighed(
        self, db: sqlite3.Connection, place: Place, words: tuple[str, ...], probe: Probe | None
    ) -> tuple[WordEvidence, VectorEvidence | None]:
        evidence = weigh_words([self._posting(db, place, word) for word in words], place.chunks)
        if probe is None:
            return evidence, None
        table = self._table(db, place, probe.embedder)
        if not len(table.ids):
            return evidence, None
        if table.rows.shape[1] != len(probe.vector):
            raise DimensionMismatch(
                f"A question of {len(probe.vector)} numbers cannot be compared with chunks of "
                f"{table.rows.shape[1]}; embedder {probe.embedder!r} changed."
            )
        return evidence, table.compare(probe.vector)

    def _posting(self, db: sqlite3.Connection, place: Place, word: str) -> Posting:
        key = (place.number, place.version, word)
        found = self._postings.find(key)
        if found is None:
            found = _read_posting(db, place, word)
            self._postings.keep(key, found)
        return found

    def _table(self, db: sqlite3.Connection, place: Place, embedder: str) -> VectorTable:
        key = (place.number, embedder)
        old = self._tables.get(key)
        if old is not None and old.version == place.version:
            return old
        within = (embedder, place.low, place.high)
        where = "FROM vectors WHERE embedder = ? AND chunk BETWEEN ? AND ?"
        rows = db.execute(f"SELECT chunk {where}", within).fetchall()
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        added: dict[int, bytes] = {}
        if old is None or not len(old.ids):
            added = dict(db.execute(f"SELECT chunk, vector {where}", within))
        else:
            for chunk in np.setdiff1d(ids, old.ids):
                one = "SELECT vector FROM vectors WHERE embedder = ? AND chunk = ?"
                added[int(chunk)] = db.execute(one, (embedder, int(chunk))).fetchone()[0]
        fresh = refreshed(old, place.version, ids, added)
        # Two threads may both build it; a reader of an older moment must not put its table over a newer one.
        newest = self._tables.get(key)
        if newest is None or newest.version < fresh.version:
            self._tables[key] = fresh
        return fresh

    def _connection(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            # Autocommit: transactions are begun by hand, so that each read or write is one of known extent.
            db = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA cache_size = -32000")
            self._local.db = db
            with self._guard:
                self._open.append(db)
        return db

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        db = self._connection()
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("ROLLBACK")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock:
            db = self._connection()
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException as fault:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if isinstance(fault, sqlite3.Error):
                    raise KnowledgeUnavailable(f"The knowledge store cannot be written: {fault}.") from fault
                raise


def _read_posting(db: sqlite3.Connection, place: Place, word: str) -> Posting:
    """A word's chunks in a collection. FTS5 gives rarity x frequency with the rarity of the whole file.

    That rarity is divided out: what other collections hold must move neither order nor score here.
    """
    match = f'"{word}"'
    rows = db.execute(
        "SELECT rowid - ?1, -bm25(chunks_fts) FROM chunks_fts "
        "WHERE chunks_fts MATCH ?2 AND rowid BETWEEN ?1 AND ?3 ORDER BY rowid",
        (place.low, match, place.high),
    ).fetchall()
    if not rows:
        return Posting(np.empty(0, np.int64), np.empty(0))
    everywhere = int(db.execute("SELECT sum(chunks) FROM collections").fetchone()[0])
    holding = len(rows)
    if everywhere != place.chunks:
        count = "SELECT count(*) FROM chunks_fts WHERE chunks_fts MATCH ?"
        holding = int(db.execute(count, (match,)).fetchone()[0])
    # FTS5's own formula, floor included: fts5_aux.c, fts5Bm25GetData.
    rarity = math.log((everywhere - holding + 0.5) / (holding + 0.5))
    found = np.array(rows, np.float64)
    return Posting(found[:, 0].astype(np.int64) + place.low, found[:, 1] / (rarity if rarity > 0 else 1e-6))
