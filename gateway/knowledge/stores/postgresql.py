"""Chunks in PostgreSQL, for many replicas: words in its full-text index, vectors in pgvector.

Every search is one read transaction, and asks the collection's version in it: what another replica has written is
seen by the next search. See docs/decisions/0016-knowledge-in-postgresql.md.
"""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec

from gateway.core.errors import KnowledgeUnavailable
from gateway.core.facts import AttributeValue
from gateway.db.direct import DIRECT_FAULTS, Direct
from gateway.knowledge.chunks import Passage
from gateway.knowledge.matrix import Matrix
from gateway.knowledge.measure import Measured
from gateway.knowledge.postgresql_listing import list_documents, read_texts
from gateway.knowledge.postgresql_rows import (
    Change,
    begin_pass,
    drop_documents,
    make_place,
    mark_changed,
    put_entries,
    storable,
)
from gateway.knowledge.postgresql_search import MOST_ROWS, Searcher
from gateway.knowledge.postgresql_vectors import NEAR_FROM, NO_PGVECTOR, VectorTables
from gateway.knowledge.ranking import Ranking
from gateway.knowledge.stores import Ask, Entry, Found, Kept, Listing, Pass, PendingChunk, Put

# A caller waits for this before the first token; a store that needs longer counts as away.
SEARCH_SECONDS = 5.0
SWEPT_AT_ONCE = 200
# Any number, the same in every replica; the second half of the key is the collection.
SYNC_LOCK = 7_202_611
SYNC_WAIT_SECONDS = 10.0
LOOK_SECONDS = 0.2
_PLACE = "(SELECT number FROM knowledge_collections WHERE name = $1)"


class PostgresqlStore:
    """A store in the database at `url` (SQLAlchemy's), whose tables Alembic has made.

    near_from: how many vectors a collection needs to be searched through a graph. most_rows: of one word's chunks
    that are weighed one by one.
    """

    def __init__(self, url: str, *, near_from: int = NEAR_FROM, most_rows: int = MOST_ROWS) -> None:
        self._direct = Direct(url)
        # Passes hold a connection each for as long as they take; searches must not wait for those.
        self._locking = Direct(url)
        self._tables = VectorTables(self._direct, near_from)
        self._searcher = Searcher(self._tables, most_rows)

    @contextlib.asynccontextmanager
    async def _syncing(self, collection: str) -> AsyncIterator[bool]:
        key = zlib.crc32(collection.encode("utf-8", "replace")) - 2**31
        async with contextlib.AsyncExitStack() as stack:
            async with _available("written"):
                # A connection of its own: the lock goes with the process that held it, however that ends.
                db = await stack.enter_async_context(self._locking.connection())
                is_mine = await _locked(db, key)
            try:
                yield is_mine
            finally:
                if is_mine:
                    with contextlib.suppress(*DIRECT_FAULTS):
                        await db.execute("SELECT pg_advisory_unlock($1, $2)", SYNC_LOCK, key)

    def syncing(self, collection: str) -> AbstractAsyncContextManager[bool]:
        """See Store. An advisory lock, waited for for ten seconds."""
        return self._syncing(collection)

    async def begin(self, collection: str, source: str, *, anew: bool = False) -> Pass:
        """See Store."""
        async with self._writing() as db:
            return await begin_pass(db, await make_place(db, collection), source, anew=anew)

    async def put(self, collection: str, source: str, entries: Sequence[Entry], number: int = 0) -> tuple[Put, ...]:
        """See Store."""
        async with self._writing() as db:
            place = await make_place(db, collection)
            done: list[Put] = []
            for part in _without_repeats(entries):
                done += await put_entries(db, place, source, part, number)
            return tuple(done)

    async def keep(self, collection: str, source: str, pattern: str, number: int) -> None:
        """See Store."""
        same = "starts_with(name, $4)" if pattern.endswith("*") else "name = $4"
        query = (
            "UPDATE knowledge_documents SET named = greatest(named, $3) "  # noqa: S608 - our own names
            f"WHERE collection = {_PLACE} AND source = $2 AND {same}"
        )
        async with self._writing() as db:
            await db.execute(query, collection, source, number, storable(pattern.removesuffix("*")))

    async def remove(self, collection: str, source: str, document: str) -> bool:
        """See Store."""
        query = "SELECT id FROM knowledge_documents WHERE collection = $1 AND source = $2 AND name = $3"
        return bool(await self._drop(collection, source, query, source, storable(document)))

    async def sweep(self, collection: str, source: str, number: int) -> int:
        """See Store."""
        query = (
            "SELECT id FROM knowledge_documents WHERE collection = $1 AND source = $2 AND named < $3 "  # noqa: S608
            f"LIMIT {SWEPT_AT_ONCE}"
        )
        return await self._drop(collection, source, query, source, number)

    async def keep_sources(self, collection: str, sources: Iterable[str]) -> int:
        """See Store."""
        keys = list(sources)
        async with self._reading() as db:
            query = f"SELECT 1 FROM knowledge_sources WHERE collection = {_PLACE} AND key <> ALL($2)"  # noqa: S608
            documents = query.replace("knowledge_sources", "knowledge_documents").replace("key", "source")
            if not await db.fetchval(f"{query} UNION ALL {documents} LIMIT 1", collection, keys):
                return 0
        query = "SELECT id FROM knowledge_documents WHERE collection = $1 AND source <> ALL($2)"
        gone = await self._drop(collection, None, query, keys)
        async with self._writing() as db:
            others = f"DELETE FROM knowledge_sources WHERE collection = {_PLACE} AND key <> ALL($2)"  # noqa: S608
            await db.execute(others, collection, keys)
        return gone

    async def mark(self, collection: str, source: str, cursor: str, number: int) -> None:
        """See Store."""
        async with self._writing() as db:
            query = f"UPDATE knowledge_sources SET mark = $3 WHERE collection = {_PLACE} AND key = $2 AND number = $4"  # noqa: S608
            await db.execute(query, collection, source, storable(cursor), number)

    async def finish(self, collection: str, source: str, cursor: str | None, at: float) -> None:
        """See Store."""
        async with self._writing() as db:
            await db.execute(
                "INSERT INTO knowledge_sources (collection, key, cursor, synced_at) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (collection, key) DO UPDATE SET cursor = excluded.cursor, "
                "synced_at = excluded.synced_at, mark = NULL, is_census = false",
                await make_place(db, collection),
                source,
                None if cursor is None else storable(cursor),
                at,
            )

    async def listed(self, asked: Listing) -> tuple[Kept, ...]:
        """See Store."""
        async with self._reading() as db:
            return await list_documents(db, asked)

    async def texts(self, collection: str, team: str, document: str) -> tuple[str, ...]:
        """See Store."""
        async with self._reading() as db:
            return await read_texts(db, collection, team, document)

    async def documents(self, collection: str, source: str) -> frozenset[str]:
        """See Store."""
        query = f"SELECT name FROM knowledge_documents WHERE collection = {_PLACE} AND source = $2"  # noqa: S608
        async with self._reading() as db:
            return frozenset(row["name"] for row in await db.fetch(query, collection, source))

    async def current(self, document: str) -> dict[str, str]:
        """See Store."""
        query = (
            "SELECT c.name, d.version FROM knowledge_documents d "
            "JOIN knowledge_collections c ON c.number = d.collection WHERE d.name = $1"
        )
        async with self._reading() as db:
            return {row["name"]: row["version"] for row in await db.fetch(query, storable(document))}

    async def count(self, collection: str, source: str) -> int:
        """See Store."""
        query = f"SELECT count(*) FROM knowledge_documents WHERE collection = {_PLACE} AND source = $2"  # noqa: S608
        async with self._reading() as db:
            return int(await db.fetchval(query, collection, source))

    async def cursor(self, collection: str, source: str) -> str | None:
        """See Store."""
        query = f"SELECT cursor FROM knowledge_sources WHERE collection = {_PLACE} AND key = $2"  # noqa: S608
        async with self._reading() as db:
            found: str | None = await db.fetchval(query, collection, source)
            return found

    async def counts(self) -> dict[str, tuple[int, int]]:
        """See Store."""
        query = (
            "SELECT name, (SELECT count(*) FROM knowledge_documents d WHERE d.collection = c.number) AS documents, "
            "chunks FROM knowledge_collections c"
        )
        async with self._reading() as db:
            return {row["name"]: (row["documents"], row["chunks"]) for row in await db.fetch(query)}

    async def serving(self) -> dict[str, str]:
        """See Store."""
        async with self._reading() as db:
            rows = await db.fetch("SELECT name, embedder FROM knowledge_collections WHERE embedder IS NOT NULL")
            return {row["name"]: row["embedder"] for row in rows}

    async def version(self) -> int:
        """See Store."""
        async with self._reading() as db:
            return int(await db.fetchval("SELECT version FROM knowledge_state"))

    async def note(self) -> str:
        """See Store. That pgvector is missing."""
        async with _available("read"):
            return "" if await self._tables.available() else NO_PGVECTOR

    async def pending(self, collection: str, embedder: str, limit: int) -> tuple[PendingChunk, ...]:
        """See Store. None without pgvector: nobody is to pay for vectors that cannot be kept."""
        async with _available("read"):
            if not await self._tables.available():
                return ()
        async with self._reading() as db:
            space = await self._tables.find(db, embedder)
            unseen = f"AND NOT EXISTS (SELECT 1 FROM {space.table} v WHERE v.chunk = c.id)" if space else ""  # noqa: S608
            query = (
                f"SELECT id, path, text FROM knowledge_chunks c WHERE collection = {_PLACE} {unseen} "  # noqa: S608
                "ORDER BY id LIMIT $2"
            )
            rows = await db.fetch(query, collection, limit)
            return tuple(PendingChunk(row["id"], f"{row['path']}\n{row['text']}") for row in rows)

    async def put_vectors(self, collection: str, embedder: str, ids: tuple[int, ...], rows: Matrix) -> None:
        """See Store."""
        async with self._writing() as db:
            number = await make_place(db, collection)
            space = await self._tables.make(db, embedder, rows.shape[1])
            await self._tables.put(db, space, number, ids, rows)
            query = "UPDATE knowledge_collections SET embedder = $2 WHERE number = $1 AND embedder IS NULL"
            await db.execute(query, number, embedder)
            await mark_changed(db, number, Change(), None)

    async def serve(self, collection: str, embedder: str) -> None:
        """See Store. A large collection gets its graph before the vectors of the embedder before it go."""
        async with self._reading() as db:
            number = await db.fetchval(_PLACE, collection)
        if number is None:
            return
        async with _available("written"):
            await self._tables.index(number, embedder)
        async with self._writing() as db:
            await make_place(db, collection)
            query = "UPDATE knowledge_collections SET embedder = $2 WHERE number = $1 AND embedder IS DISTINCT FROM $2"
            changed = await db.execute(query, number, embedder) != "UPDATE 0"
            if await self._tables.keep_only(db, number, embedder) or changed:
                await mark_changed(db, number, Change(), None)

    async def search(self, ask: Ask) -> Found:
        """See Store. At most five seconds."""
        async with self._reading(SEARCH_SECONDS) as db:
            version, ranking = await self._searcher.rank(db, ask)
            return Found(version, await _passages(db, ranking))

    async def measure(self, ask: Ask) -> dict[str, Measured]:
        """See Store. At most five seconds."""
        async with self._reading(SEARCH_SECONDS) as db:
            return await self._searcher.measure(db, ask)

    async def close(self) -> None:
        """See Store."""
        await self._locking.close()
        await self._direct.close()

    async def _drop(self, collection: str, source: str | None, query: str, *values: object) -> int:
        async with self._writing() as db:
            number = await make_place(db, collection)
            ids = [row["id"] for row in await db.fetch(query, number, *values)]
            if ids:
                await mark_changed(db, number, await drop_documents(db, ids), source)
            return len(ids)

    @contextlib.asynccontextmanager
    async def _reading(self, seconds: float | None = None) -> AsyncIterator[Any]:
        async with _available("read"), asyncio.timeout(seconds), self._direct.reading() as db:
            yield db

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncIterator[Any]:
        async with _available("written"), self._direct.writing() as db:
            yield db


@contextlib.asynccontextmanager
async def _available(doing: str) -> AsyncIterator[None]:
    try:
        yield
    except DIRECT_FAULTS as fault:
        told = str(fault).partition("\n")[0] or type(fault).__name__
        raise KnowledgeUnavailable(f"The knowledge store cannot be {doing}: {told}.") from fault


async def _locked(db: Any, key: int) -> bool:
    deadline = asyncio.get_running_loop().time() + SYNC_WAIT_SECONDS
    while not await db.fetchval("SELECT pg_try_advisory_lock($1, $2)", SYNC_LOCK, key):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


def _without_repeats(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries in parts that each name a document once, in their order."""
    parts: list[list[Entry]] = [[]]
    names: set[str] = set()
    for entry in entries:
        name = storable(entry.document.id)
        if name in names:
            parts.append([])
            names.clear()
        parts[-1].append(entry)
        names.add(name)
    return parts


async def _passages(db: Any, ranking: Ranking) -> tuple[Passage, ...]:
    """The passages of a ranking, in its order."""
    if not len(ranking.ids):
        return ()
    rows = await db.fetch(
        "SELECT c.id, n.name AS collection, d.name AS document, d.version, d.title, c.text, d.url, c.tokens, "
        "d.filename, d.attributes, c.ordinal, c.path, d.readers FROM knowledge_chunks c "
        "JOIN knowledge_documents d ON d.id = c.document JOIN knowledge_collections n ON n.number = d.collection "
        "WHERE c.id = ANY($1)",
        ranking.ids.tolist(),
    )
    found = {row["id"]: row for row in rows}
    scores = ranking.scores.tolist()
    return tuple([_passage(found[one], score) for one, score in zip(ranking.ids.tolist(), scores, strict=True)])


def _passage(row: Any, score: float) -> Passage:
    attributes = msgspec.json.decode(row["attributes"], type=dict[str, AttributeValue])
    return Passage(
        row["collection"],
        row["document"],
        row["version"],
        row["title"],
        row["text"],
        score,
        row["url"],
        row["tokens"],
        row["filename"],
        tuple(sorted(attributes.items())),
        ordinal=row["ordinal"],
        path=row["path"],
        readers=None if row["readers"] is None else tuple(row["readers"]),
    )
