"""Chunks in one SQLite file: words in FTS5, vectors as float16 searched by numpy.

Each collection owns a range of chunk ids and a full-text table. Nothing outside the asked collections is read,
weighed or counted: neither a score nor what a search costs knows of the others.
Words are asked for one at a time, not as one `OR` query: that gives BM25 with the collection's own word
rarities, tells for each chunk which words it holds, is two to three times faster, and can be kept.
"""

import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gateway.core.errors import KnowledgeUnavailable
from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.matrix import Matrix
from gateway.knowledge.measure import Measured
from gateway.knowledge.sqlite_listing import list_documents, read_texts
from gateway.knowledge.sqlite_rows import (
    begin_pass,
    drop_documents,
    find_place,
    make_place,
    mark_changed,
    prepare,
    put_entry,
    read_passages,
)
from gateway.knowledge.sqlite_search import Searcher
from gateway.knowledge.stores import Ask, Entry, Found, Kept, Listing, Pass, PendingChunk, Put
from gateway.knowledge.workers import Workers

BUSY_SECONDS = 10.0
SWEPT_AT_ONCE = 200
_OF_SOURCE = "FROM {} JOIN collections c ON c.number = {}.collection WHERE c.name = ? AND {}.{} = ?"
_DOCUMENTS = _OF_SOURCE.format("documents", "documents", "documents", "source")
_SOURCES = _OF_SOURCE.format("sources", "sources", "sources", "key")

Result = TypeVar("Result")


class SqliteStore:
    """A store in the file `path`, made when absent. It works in threads, each over its own connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._write_lock = threading.Lock()
        self._searcher = Searcher()
        self._workers = Workers()
        self._closed = False
        path.parent.mkdir(parents=True, exist_ok=True)
        db = self._connection()
        db.execute("PRAGMA journal_mode = WAL")
        prepare(db)

    def syncing(self, collection: str) -> AbstractAsyncContextManager[bool]:
        """See Store. Always True: of the processes over one file, only the first worker passes over sources."""
        return _alone(collection)

    async def begin(self, collection: str, source: str, *, anew: bool = False) -> Pass:
        """See Store."""

        def work(db: sqlite3.Connection) -> Pass:
            return begin_pass(db, make_place(db, collection), source, anew=anew)

        return await self._write(work)

    async def put(self, collection: str, source: str, entries: Sequence[Entry], number: int = 0) -> tuple[Put, ...]:
        """See Store."""

        def work(db: sqlite3.Connection) -> tuple[Put, ...]:
            place = make_place(db, collection)
            return tuple([put_entry(db, place, source, entry, number) for entry in entries])

        return await self._write(work)

    async def keep(self, collection: str, source: str, pattern: str, number: int) -> None:
        """See Store."""
        start = pattern.removesuffix("*")
        # Not LIKE, to which `%`, `_` and letter case mean something else.
        same = "substr(name, 1, length(?)) = ?" if pattern.endswith("*") else "name IN (?, ?)"

        def work(db: sqlite3.Connection) -> None:
            stamped = f"UPDATE documents SET named = max(named, ?) WHERE collection = ? AND source = ? AND {same}"  # noqa: S608
            db.execute(stamped, (number, make_place(db, collection), source, start, start))

        await self._write(work)

    async def remove(self, collection: str, source: str, document: str) -> bool:
        """See Store."""

        def work(db: sqlite3.Connection) -> bool:
            number = make_place(db, collection)
            query = "SELECT id FROM documents WHERE collection = ? AND source = ? AND name = ?"
            rows = db.execute(query, (number, source, document)).fetchall()
            if rows:
                mark_changed(db, number, -drop_documents(db, number, rows), source)
            return bool(rows)

        return await self._write(work)

    async def mark(self, collection: str, source: str, cursor: str, number: int) -> None:
        """See Store."""

        def work(db: sqlite3.Connection) -> None:
            place = make_place(db, collection)
            query = "UPDATE sources SET mark = ? WHERE collection = ? AND key = ? AND number = ?"
            db.execute(query, (cursor, place, source, number))

        await self._write(work)

    async def sweep(self, collection: str, source: str, number: int) -> int:
        """See Store."""

        def work(db: sqlite3.Connection) -> int:
            place = make_place(db, collection)
            query = "SELECT id FROM documents WHERE collection = ? AND source = ? AND named < ? LIMIT ?"
            rows = db.execute(query, (place, source, number, SWEPT_AT_ONCE)).fetchall()
            if rows:
                mark_changed(db, place, -drop_documents(db, place, rows), source)
            return len(rows)

        return await self._write(work)

    async def finish(self, collection: str, source: str, cursor: str | None, at: float) -> None:
        """See Store."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO sources (collection, key, cursor, synced_at) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET cursor = excluded.cursor, synced_at = excluded.synced_at, mark = NULL, is_census = 0",
                (make_place(db, collection), source, cursor, at),
            )

        await self._write(work)

    async def keep_sources(self, collection: str, sources: Iterable[str]) -> int:
        """See Store."""
        keys = tuple(sources)
        others = f"collection = ? AND {{}} NOT IN ({', '.join('?' * len(keys))})"

        def work(db: sqlite3.Connection) -> int:
            number = make_place(db, collection)
            query = f"SELECT id FROM documents WHERE {others.format('source')}"  # noqa: S608 - only `?` marks
            rows = db.execute(query, (number, *keys)).fetchall()
            if rows:
                mark_changed(db, number, -drop_documents(db, number, rows), None)
            db.execute(f"DELETE FROM sources WHERE {others.format('key')}", (number, *keys))  # noqa: S608
            return len(rows)

        return await self._write(work)

    async def listed(self, asked: Listing) -> tuple[Kept, ...]:
        """See Store."""
        return await self._read(lambda db: list_documents(db, asked))

    async def texts(self, collection: str, team: str, document: str) -> tuple[str, ...]:
        """See Store."""
        return await self._read(lambda db: read_texts(db, collection, team, document))

    async def documents(self, collection: str, source: str) -> frozenset[str]:
        """See Store."""
        rows = await self._rows(f"SELECT documents.name {_DOCUMENTS}", collection, source)
        return frozenset(row[0] for row in rows)

    async def current(self, document: str) -> dict[str, str]:
        """See Store."""
        query = (
            "SELECT c.name, d.version FROM documents d JOIN collections c ON c.number = d.collection WHERE d.name = ?"
        )
        return dict(await self._rows(query, document))

    async def count(self, collection: str, source: str) -> int:
        """See Store."""
        rows = await self._rows(f"SELECT count(*) {_DOCUMENTS}", collection, source)
        return int(rows[0][0])

    async def cursor(self, collection: str, source: str) -> str | None:
        """See Store."""
        rows = await self._rows(f"SELECT sources.cursor {_SOURCES}", collection, source)
        return rows[0][0] if rows else None

    async def counts(self) -> dict[str, tuple[int, int]]:
        """See Store."""
        rows = await self._rows(
            "SELECT c.name, (SELECT count(*) FROM documents d WHERE d.collection = c.number), c.chunks "
            "FROM collections c"
        )
        return {row[0]: (row[1], row[2]) for row in rows}

    async def serving(self) -> dict[str, str]:
        """See Store."""
        return dict(await self._rows("SELECT name, embedder FROM collections WHERE embedder IS NOT NULL"))

    async def version(self) -> int:
        """See Store."""
        return int((await self._rows("SELECT version FROM knowledge"))[0][0])

    async def note(self) -> str:
        """See Store."""
        return ""

    async def pending(self, collection: str, embedder: str, limit: int) -> tuple[PendingChunk, ...]:
        """See Store."""

        def work(db: sqlite3.Connection) -> tuple[PendingChunk, ...]:
            place = find_place(db, collection)
            if place is None:
                return ()
            rows = db.execute(
                "SELECT id, path, text FROM chunks c WHERE id BETWEEN ? AND ? AND NOT EXISTS "
                "(SELECT 1 FROM vectors v WHERE v.embedder = ? AND v.chunk = c.id) ORDER BY id LIMIT ?",
                (place.low, place.high, embedder, limit),
            )
            return tuple(PendingChunk(row[0], f"{row[1]}\n{row[2]}") for row in rows)

        return await self._read(work)

    async def put_vectors(self, collection: str, embedder: str, ids: tuple[int, ...], rows: Matrix) -> None:
        """See Store."""
        dimension = rows.shape[1]
        blobs = [(embedder, row.tobytes(), i) for i, row in zip(ids, rows.astype(np.float16), strict=True)]

        def work(db: sqlite3.Connection) -> None:
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
            number = make_place(db, collection)
            db.execute("UPDATE collections SET embedder = coalesce(embedder, ?) WHERE number = ?", (embedder, number))
            mark_changed(db, number, 0, None)

        await self._write(work)

    async def serve(self, collection: str, embedder: str) -> None:
        """See Store."""

        def work(db: sqlite3.Connection) -> None:
            place = find_place(db, collection)
            if place is None:
                return
            query = "UPDATE collections SET embedder = ?1 WHERE number = ?2 AND embedder IS NOT ?1"
            changed = db.execute(query, (embedder, place.number)).rowcount
            changed += db.execute(
                "DELETE FROM vectors WHERE chunk BETWEEN ? AND ? AND embedder IN "
                "(SELECT name FROM embedders WHERE name <> ?)",
                (place.low, place.high, embedder),
            ).rowcount
            if changed:
                mark_changed(db, place.number, 0, None)

        await self._write(work)

    async def search(self, ask: Ask) -> Found:
        """See Store. One read transaction: version, rights, words, vectors and texts are of one moment."""

        def work(db: sqlite3.Connection) -> Found:
            version = int(db.execute("SELECT version FROM knowledge").fetchone()[0])
            return Found(version, read_passages(db, self._searcher.rank(db, ask)))

        return await self._read(work)

    async def measure(self, ask: Ask) -> dict[str, Measured]:
        """See Store."""
        return await self._read(lambda db: self._searcher.measure(db, ask))

    async def close(self) -> None:
        """See Store. Waits for what is being read or written."""
        self._closed = True
        await self._workers.finish()
        with self._guard:
            while self._open:
                self._open.pop().close()

    async def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        return await self._read(lambda db: db.execute(query, values).fetchall())

    async def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._run(self._reading, work)

    async def _write(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._run(self._writing, work)

    async def _run(
        self,
        within: Callable[[], contextlib.AbstractContextManager[sqlite3.Connection]],
        work: Callable[[sqlite3.Connection], Result],
    ) -> Result:
        def whole() -> Result:
            with within() as db:
                return work(db)

        if self._closed:
            raise KnowledgeUnavailable("The knowledge store is closed.")
        return await self._workers.run(whole)

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
        try:
            db = self._connection()
            db.execute("BEGIN")
            try:
                yield db
            finally:
                db.execute("ROLLBACK")
        except sqlite3.Error as fault:
            raise KnowledgeUnavailable(f"The knowledge store cannot be read: {fault}.") from fault

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


@contextlib.asynccontextmanager
async def _alone(_collection: str) -> AsyncIterator[bool]:
    yield True
