"""One pass over one source: what changed goes into the store, words first, vectors after."""

from collections.abc import Callable
from typing import Literal

from gateway.core.errors import GatewayError
from gateway.core.values import Value
from gateway.knowledge.chunks import cut
from gateway.knowledge.connectors import Connector, Fault, Mark, Removal
from gateway.knowledge.document import Document
from gateway.knowledge.embedders import DimensionMismatch, Embedder
from gateway.knowledge.stores import Put, Store
from gateway.knowledge.workers import Workers

CHUNKS_AT_ONCE = 96

Progress = Callable[[str, int], None]
"""Called with a collection and the number of documents looked at so far."""


class SyncReport(Value, frozen=True):
    """What a pass did, in documents. faults: lines for a person; all else was loaded."""

    added: int = 0
    updated: int = 0
    removed: int = 0
    unchanged: int = 0
    faults: tuple[str, ...] = ()

    def plus(self, other: "SyncReport") -> "SyncReport":
        """Both together."""
        return SyncReport(
            self.added + other.added,
            self.updated + other.updated,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
            self.faults + other.faults,
        )


class EmbeddingUse(Value, frozen=True):
    """What an embedder read for a collection, to be booked. tokens: None when it does not say."""

    collection: str
    embedder: str
    purpose: Literal["ingest", "query"]
    texts: int
    tokens: int | None


Booked = Callable[[EmbeddingUse], None]


class Ingest:
    """Passes over the sources of one store. Safe to repeat and to kill at any point."""

    def __init__(self, store: Store, workers: Workers, wall: Callable[[], float], booked: Booked) -> None:
        self._store = store
        self._workers = workers
        self._wall = wall
        self._booked = booked

    async def read(
        self, collection: str, source: str, connector: Connector, progress: Progress | None = None
    ) -> SyncReport:
        """Takes in what changed since the source's last finished pass.

        A pass without a cursor is also a census: documents that the source did not name are removed, unless
        a fault keeps them or the pass could not be finished.
        """
        run, store = self._workers.run, self._store
        cursor = await run(store.cursor, collection, source)
        counts: dict[Put, int] = {"added": 0, "updated": 0, "unchanged": 0}
        removed = 0
        faults: list[Fault] = []
        named: set[str] = set()
        mark: Mark | None = None
        async for change in connector.changes(cursor):
            if isinstance(change, Mark):
                mark = change
            elif isinstance(change, Fault):
                faults.append(change)
            elif isinstance(change, Removal):
                removed += await run(store.remove, collection, source, change.document)
            else:
                counts[await run(self._put, collection, source, change.document)] += 1
                named.add(change.document.id)
                if progress is not None:
                    progress(collection, len(named))
        if mark is not None:
            if cursor is None:
                removed += await self._census(collection, source, named, faults)
            if mark.cursor != cursor or counts["added"] or counts["updated"] or removed:
                await run(store.finish, collection, source, mark.cursor, self._wall())
        there = len(await run(store.documents, collection, source))
        lines = tuple(fault.line for fault in faults)
        unchanged = there - counts["added"] - counts["updated"]
        return SyncReport(counts["added"], counts["updated"], removed, unchanged, lines)

    async def embed(self, collection: str, embedder: Embedder) -> tuple[str, ...]:
        """Gives vectors to all chunks that have none; what went wrong, in words. The next pass goes on."""
        run, store = self._workers.run, self._store
        while chunks := await run(store.pending, collection, embedder.name, CHUNKS_AT_ONCE):
            try:
                embedded = await embedder.embed([chunk.content for chunk in chunks])
                use = EmbeddingUse(collection, embedder.name, "ingest", len(chunks), embedded.tokens)
                self._booked(use)
                ids = tuple(chunk.id for chunk in chunks)
                await run(store.put_vectors, collection, embedder.name, ids, embedded.rows)
            except (GatewayError, DimensionMismatch) as fault:
                return (f"{collection}: {len(chunks)} or more chunks wait for vectors: {fault}",)
        return ()

    def _put(self, collection: str, source: str, document: Document) -> Put:
        return self._store.put(collection, source, document, cut(document))

    async def _census(self, collection: str, source: str, named: set[str], faults: list[Fault]) -> int:
        kept = [fault.keeps for fault in faults if fault.keeps is not None]
        removed = 0
        for document in sorted(await self._workers.run(self._store.documents, collection, source) - named):
            if not any(_keeps(pattern, document) for pattern in kept):
                removed += await self._workers.run(self._store.remove, collection, source, document)
        return removed


def _keeps(pattern: str, document: str) -> bool:
    return document.startswith(pattern[:-1]) if pattern.endswith("*") else document == pattern
