"""Vectors on PostgreSQL: a pgvector table for each embedder, made when it is first needed."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from gateway.core.values import Value
from gateway.db.direct import DIRECT_FAULTS, Direct
from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.matrix import FEWEST_TO_MEASURE, USUAL_NEIGHBOURING, USUAL_UNRELATED, Matrix
from gateway.knowledge.ranking import Vector

# From this many vectors of a collection on they are searched through a graph (HNSW), below it one by one, exactly.
NEAR_FROM = 20_000
MOST_INDEXED = 4_000
SAMPLE_ROWS = 2_000
LOOK_AGAIN_SECONDS = 60.0
INDEX_SECONDS = 3_600.0
NO_PGVECTOR = (
    "PostgreSQL has no pgvector, so collections with an embedder are searched by words alone: install it on the "
    "server, and have a superuser run CREATE EXTENSION vector."
)
_log = logging.getLogger(__name__)


class VectorSpace(Value, frozen=True):
    """An embedder's table. number: in its name."""

    number: int
    dimension: int

    @property
    def table(self) -> str:
        """Its name."""
        return f"knowledge_vectors_{self.number}"

    def index(self, collection: int) -> str:
        """The name of a collection's graph over it."""
        return f"knowledge_near_{self.number}_{collection}"


class VectorTables:
    """Which embedders have a table, and whether the server can have any."""

    def __init__(self, direct: Direct, near_from: int = NEAR_FROM) -> None:
        self._direct = direct
        self._near_from = near_from
        self._spaces: dict[str, VectorSpace] = {}
        self._has_pgvector = False
        self._looked_at = float("-inf")
        self._graphs: dict[str, tuple[bool, float]] = {}
        # (unrelated, neighbouring, chunks when measured), by collection and table.
        self._usual: dict[tuple[int, int], tuple[float, float, int]] = {}

    async def available(self) -> bool:
        """Whether vectors can be kept; tries to make the extension, once a minute."""
        if self._has_pgvector or time.monotonic() < self._looked_at + LOOK_AGAIN_SECONDS:
            return self._has_pgvector
        self._looked_at = time.monotonic()
        async with self._direct.connection() as db:
            found = await db.fetchval("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
            if found is None:
                try:
                    await db.execute("CREATE EXTENSION IF NOT EXISTS vector")
                except DIRECT_FAULTS as fault:
                    _log.warning("pgvector_missing fault=%s note=%s", fault, NO_PGVECTOR)
                    return False
        self._has_pgvector = True
        return True

    async def find(self, db: Any, embedder: str) -> VectorSpace | None:
        """An embedder's table; None when it never gave a vector."""
        found = self._spaces.get(embedder)
        if found is None:
            query = "SELECT number, dimension FROM knowledge_embedders WHERE name = $1"
            row = await db.fetchrow(query, embedder)
            if row is not None:
                found = self._spaces[embedder] = VectorSpace(row["number"], row["dimension"])
        return found

    async def make(self, db: Any, embedder: str, dimension: int) -> VectorSpace:
        """An embedder's table, made when it is new. Raises DimensionMismatch."""
        query = "INSERT INTO knowledge_embedders (name, dimension) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        if await self.find(db, embedder) is None:
            await db.execute(query, embedder, dimension)
            row = await db.fetchrow("SELECT number, dimension FROM knowledge_embedders WHERE name = $1", embedder)
            space = VectorSpace(row["number"], row["dimension"])
            await db.execute(
                f"CREATE TABLE IF NOT EXISTS {space.table} (chunk bigint PRIMARY KEY REFERENCES knowledge_chunks "
                f"ON DELETE CASCADE, collection integer NOT NULL, vector halfvec({space.dimension}) NOT NULL) "
                # In its row up to 4,000 numbers: each is read for each question.
                "WITH (toast_tuple_target = 8160)"
            )
            await db.execute(f"CREATE INDEX IF NOT EXISTS {space.table}_of ON {space.table} (collection, chunk)")
        else:
            space = self._spaces[embedder]
        if space.dimension != dimension:
            raise DimensionMismatch(
                f"Embedder {embedder!r} gives {dimension} numbers a text; the store holds {space.dimension}."
            )
        return space

    async def put(self, db: Any, space: VectorSpace, number: int, ids: Sequence[int], rows: Matrix) -> None:
        """Adds vectors of chunks that are still there."""
        await db.execute(
            f"INSERT INTO {space.table} (chunk, collection, vector) "  # noqa: S608 - our own names
            f"SELECT c.id, $1, given.vector::halfvec({space.dimension}) "
            "FROM unnest($2::bigint[], $3::text[]) AS given(id, vector) JOIN knowledge_chunks c ON c.id = given.id "
            "ON CONFLICT (chunk) DO UPDATE SET vector = excluded.vector",
            number,
            list(ids),
            [written(row) for row in rows],
        )

    async def keep_only(self, db: Any, number: int, embedder: str) -> bool:
        """Drops a collection's vectors of all other embedders; whether there were any."""
        others = await db.fetch("SELECT number, dimension FROM knowledge_embedders WHERE name <> $1", embedder)
        dropped = False
        for row in others:
            space = VectorSpace(row["number"], row["dimension"])
            done = await db.execute(f"DELETE FROM {space.table} WHERE collection = $1", number)  # noqa: S608 - ours
            dropped = dropped or done != "DELETE 0"
        return dropped

    async def index(self, number: int, embedder: str) -> None:
        """Builds a large collection's graph, beside all that reads and writes; nothing when it is small or there."""
        async with self._direct.connection() as db:
            space = await self.find(db, embedder)
            if space is None or space.dimension > MOST_INDEXED:
                return
            name = space.index(number)
            count = await db.fetchval(
                f"SELECT count(*) FROM (SELECT 1 FROM {space.table} WHERE collection = $1 LIMIT $2) counted",  # noqa: S608
                number,
                self._near_from,
            )
            valid = await db.fetchval(
                "SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass($1)::oid", name
            )
            if count < self._near_from or valid:
                return
            if valid is False:  # One that was cut off in mid-building is never used, and costs every write.
                await db.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", timeout=INDEX_SECONDS)
            await db.execute(
                f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {space.table} "
                f"USING hnsw (vector halfvec_cosine_ops) WHERE collection = {number}",
                timeout=INDEX_SECONDS,
            )
            self._graphs.clear()

    async def has_graph(self, db: Any, space: VectorSpace, number: int) -> bool:
        """Whether a collection is searched through a graph; looked up once a minute."""
        name = space.index(number)
        known, until = self._graphs.get(name, (False, float("-inf")))
        if time.monotonic() >= until:
            known = bool(await db.fetchval("SELECT to_regclass($1) IS NOT NULL", name))
            self._graphs[name] = (known, time.monotonic() + LOOK_AGAIN_SECONDS)
        return known

    async def usual(self, db: Any, space: VectorSpace, number: int, chunks: int) -> tuple[float, float]:
        """The usual cosines of two unrelated and two neighbouring chunks, of the first 2,000; see matrix.write_table.

        Measured again when the collection has grown or shrunk by a tenth.
        """
        key = (number, space.number)
        known = self._usual.get(key)
        if known is not None and abs(known[2] - chunks) <= 0.1 * known[2]:
            return known[0], known[1]
        row = await db.fetchrow(
            "WITH sample AS MATERIALIZED (SELECT chunk, vector, row_number() OVER (ORDER BY chunk) AS place "  # noqa: S608
            f"FROM {space.table} WHERE collection = $1 ORDER BY chunk LIMIT {SAMPLE_ROWS}), "
            "counted AS (SELECT count(*) AS n FROM sample), "
            "picked AS (SELECT chunk, vector FROM sample, counted WHERE place % greatest(1, n / 64) = 0 LIMIT 64) "
            "SELECT n, (SELECT -(centre <#> centre) FROM (SELECT avg(vector) AS centre FROM sample) c) AS unrelated, "
            "(SELECT avg(best) FROM (SELECT max(1 - (p.vector <=> s.vector)) AS best FROM picked p JOIN sample s "
            "ON s.chunk <> p.chunk GROUP BY p.chunk) b) AS neighbouring FROM counted",
            number,
        )
        found = (USUAL_UNRELATED, USUAL_NEIGHBOURING, chunks)
        if row["n"] >= FEWEST_TO_MEASURE:
            found = (float(row["unrelated"]), float(row["neighbouring"]), chunks)
        self._usual[key] = found
        return found[0], found[1]


def written(row: Vector) -> str:
    """A vector as pgvector reads it, with the four digits that half a float has."""
    return "[" + ",".join(f"{value:.5g}" for value in np.asarray(row, np.float32).tolist()) + "]"
