"""One pass over one source: what changed goes into the store, words first, vectors after."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Literal

from gateway.core.errors import GatewayError
from gateway.core.values import Value
from gateway.knowledge.chunks import cut
from gateway.knowledge.connectors import Change, Connector, Fault, Mark, Removal
from gateway.knowledge.document import Document
from gateway.knowledge.embedders import DimensionMismatch, Embedder
from gateway.knowledge.stores import Entry, Pass, Put, Store
from gateway.knowledge.workers import Workers

CHUNKS_AT_ONCE = 96
# Documents written in one transaction: a search waits for none of them, and 32 cost little more than one.
DOCUMENTS_AT_ONCE = 32
CHARACTERS_AT_ONCE = 400_000
# A line for each bad document of a large source would be a second copy of it.
MOST_FAULTS = 1_000

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
    """What a model read for a collection, to be booked. tokens: None when it does not say.

    texts: passages for a reranker. search_units: what some rerankers bill instead of tokens.
    """

    collection: str
    embedder: str
    purpose: Literal["ingest", "query", "rerank"]
    texts: int
    tokens: int | None
    search_units: float | None = None


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
        """Takes in what changed since the source's last finished pass, or the rest of one that was cut off.

        A pass that began without a cursor is also a census: documents that the source did not name are removed,
        unless a fault keeps them or the pass could not be finished.
        """
        begun = await self._store.begin(collection, source)
        reading = _Reading(self._store, self._workers, (collection, source), begun, progress)
        await reading.through(connector.changes(begun.cursor), self._wall)
        counts = reading.counts
        there = await self._store.count(collection, source)
        unchanged = max(0, there - counts["added"] - counts["updated"])
        return SyncReport(counts["added"], counts["updated"], counts["removed"], unchanged, reading.lines())

    async def touch(self, collection: str, source: str, changes: AsyncIterator[Change]) -> SyncReport:
        """Takes in changes of a few documents, between passes over the source. A Mark at their end is its cursor.

        When it is cut off, the next pass begins anew. Documents that did not change are not counted.
        """
        reading = _Reading(self._store, self._workers, (collection, source), Pass(0, None, is_census=False), None)
        await reading.through(changes, self._wall)
        counts = reading.counts
        return SyncReport(counts["added"], counts["updated"], counts["removed"], 0, reading.lines())

    async def embed(self, collection: str, embedder: Embedder) -> tuple[str, ...]:
        """Gives vectors to all chunks that have none; what went wrong, in words. The next pass goes on.

        When all have one, these vectors answer, and those of an embedder before it go.
        """
        store = self._store
        before, any_new = (await store.serving()).get(collection), False
        while chunks := await store.pending(collection, embedder.name, CHUNKS_AT_ONCE):
            try:
                embedded = await embedder.embed([chunk.content for chunk in chunks])
                use = EmbeddingUse(collection, embedder.name, "ingest", len(chunks), embedded.tokens)
                self._booked(use)
                ids = tuple(chunk.id for chunk in chunks)
                await store.put_vectors(collection, embedder.name, ids, embedded.rows)
                any_new = True
            except (GatewayError, DimensionMismatch) as fault:
                return (f"{collection}: {len(chunks)} or more chunks wait for vectors: {fault}",)
        if any_new or (before is not None and before != embedder.name):
            await store.serve(collection, embedder.name)
        return ()


class _Reading:
    """A pass in hand: gathers documents into batches, and keeps the order of what the connector tells."""

    def __init__(
        self, store: Store, workers: Workers, place: tuple[str, str], begun: Pass, progress: Progress | None
    ) -> None:
        self._store = store
        self._workers = workers
        self._place = place
        self._pass = begun
        self._progress = progress
        self._batch: list[Document] = []
        self._characters = 0
        self._looked_at = 0
        self._mark: Mark | None = None
        self._kept: set[str] = set()
        self._lines: list[str] = []
        self._more_lines = 0
        self.counts: Counter[Put | Literal["removed"]] = Counter()

    async def through(self, changes: AsyncIterator[Change], wall: Callable[[], float]) -> None:
        """Takes in all that a connector tells."""
        async for change in changes:
            if isinstance(change, Mark):
                await self.mark(change)
            elif isinstance(change, Fault):
                await self.fault(change)
            elif isinstance(change, Removal):
                await self.remove(change.document)
            else:
                await self.put(change.document)
        await self.end(wall)

    async def put(self, document: Document) -> None:
        """Takes a document; it is written with the next that fill a batch."""
        await self._pass_mark()
        self._batch.append(document)
        self._characters += len(document.text)
        if len(self._batch) >= DOCUMENTS_AT_ONCE or self._characters >= CHARACTERS_AT_ONCE:
            await self._flush()

    async def remove(self, document: str) -> None:
        """Removes a document, after all that was told before."""
        await self._pass_mark()
        await self._flush()
        self.counts["removed"] += await self._store.remove(*self._place, document)

    async def fault(self, fault: Fault) -> None:
        """Notes what could not be read, and has the census keep what may stand behind it."""
        await self._pass_mark()
        if len(self._lines) < MOST_FAULTS:
            self._lines.append(fault.line)
        else:
            self._more_lines += 1
        if fault.keeps is not None and self._pass.is_census and fault.keeps not in self._kept:
            # Written down at once: a pass that goes on after a kill would not meet this fault again.
            await self._store.keep(*self._place, fault.keeps, self._pass.number)
            self._kept.add(fault.keeps)

    async def mark(self, mark: Mark) -> None:
        """Keeps a mark in mind; it is written down when anything follows, for the last one ends the pass."""
        await self._pass_mark()
        self._mark = mark

    async def end(self, wall: Callable[[], float]) -> None:
        """Writes what is left; with a mark at its end, the pass is finished and its census taken."""
        await self._flush()
        counts = self.counts
        if self._mark is None:
            return
        if self._pass.is_census:
            while gone := await self._store.sweep(*self._place, self._pass.number):
                counts["removed"] += gone
        if self._mark.cursor != self._pass.cursor or counts["added"] or counts["updated"] or counts["removed"]:
            await self._store.finish(*self._place, self._mark.cursor, wall())

    def lines(self) -> tuple[str, ...]:
        """The faults, for a person."""
        more = (f"and {self._more_lines:,} more lines like these.",) if self._more_lines else ()
        return (*self._lines, *more)

    async def _pass_mark(self) -> None:
        mark, self._mark = self._mark, None
        if mark is None:
            return
        await self._flush()
        if mark.cursor:
            await self._store.mark(*self._place, mark.cursor, self._pass.number)
        else:
            # What was marked before is worth nothing any more: the source was changed meanwhile.
            self._pass = await self._store.begin(*self._place, anew=True)
            self._kept.clear()

    async def _flush(self) -> None:
        if not self._batch:
            return
        batch, self._batch, self._characters = self._batch, [], 0
        entries = await self._workers.run(_cut, batch)
        for done in await self._store.put(*self._place, entries, self._pass.number):
            self.counts[done] += 1
            self._looked_at += 1
            if self._progress is not None:
                self._progress(self._place[0], self._looked_at)


def _cut(documents: list[Document]) -> list[Entry]:
    return [Entry(document, cut(document)) for document in documents]
