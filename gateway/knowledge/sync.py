"""The library: collections kept like their sources, and searched for teams that may read them."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from gateway.core.errors import GatewayError, KnowledgeUnavailable, NotFound
from gateway.core.facts import Evidence, KnowledgeSignal
from gateway.knowledge.chunks import Chunking, cut
from gateway.knowledge.distinct import distinct
from gateway.knowledge.document import Document
from gateway.knowledge.embedders import DimensionMismatch
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.filters import Filter
from gateway.knowledge.fusion import CONVEX, Fusion
from gateway.knowledge.ingest import EmbeddingUse, Ingest, Progress, SyncReport
from gateway.knowledge.measure import Measured, evidence
from gateway.knowledge.polling import Observed, Poller, SourceRecord, SourceRecords, SourceStatus, after_pass
from gateway.knowledge.probes import Probing
from gateway.knowledge.settings import CollectionSettings, CollectionStatus, SourceSettings
from gateway.knowledge.sources import connector_of, is_polled
from gateway.knowledge.stores import Ask, Entry, Found, Kept, Listing, Store
from gateway.knowledge.watch import notice
from gateway.knowledge.workers import Workers

RESCAN_TICKS = 100  # Half a minute of 0.3 s ticks: the longest that an event the system lost stays lost.
MOST_QUESTION_CHARACTERS = 20_000

_log = logging.getLogger(__name__)


def _not_booked(_use: EmbeddingUse) -> None:
    """Where nobody asks what embedding costs."""


class Library:
    """Collections over one store. All methods belong to one event loop.

    embedders: by the names that collections use. booked: told of every use of an embedder. records: how passes went.
    """

    def __init__(
        self,
        store: Store,
        collections: Iterable[CollectionSettings],
        embedders: Mapping[str, Remembered],
        *,
        booked: Callable[[EmbeddingUse], None] = _not_booked,
        wall: Callable[[], float] = time.time,
        records: SourceRecords | None = None,
    ) -> None:
        self._store = store
        self._collections = {collection.name: collection for collection in collections}
        self._made: dict[str, CollectionSettings] = {}
        self._probing = Probing(store, embedders)
        self._booked = booked
        self._wall = wall
        # When each source was last compared with its collection, by `collection:source`, in Unix seconds.
        self.passed: dict[str, float] = {}
        self._workers = Workers()
        self._ingest = Ingest(store, self._workers, wall, booked)
        self._records = records or SourceRecords()
        # By collection what is between sources, by `collection:source` a pass: none waits for another's network.
        self._locks: dict[str, asyncio.Lock] = {}
        self._replaced = asyncio.Event()
        self._polled = asyncio.Event()
        self._closed = False
        self._stamps: dict[str, tuple[int, int]] = {}
        self._faults: dict[str, tuple[str, ...]] = {}

    def readable(self, team: str) -> tuple[str, ...]:
        """The names of the collections that a team may read."""
        return tuple(name for name, settings in self._collections.items() if settings.readable_by(team))

    def permitted(self, collections: Iterable[str], team: str) -> tuple[str, ...]:
        """Those of the collections that exist and that a team may read, each once."""
        return tuple(settings.name for settings in self._permitted(collections, team))

    def replace(
        self, collections: Iterable[CollectionSettings], embedders: Mapping[str, Remembered] | None = None
    ) -> None:
        """New settings, in force for the next search; `watch` brings the documents after within a second.

        What a collection's settings no longer name is removed by its next sync. A collection that is named
        no more is no longer found, and its documents stay in the store: an undone edit costs nothing.
        """
        self._collections = {collection.name: collection for collection in collections}
        if embedders is not None:
            self._probing.embedders = dict(embedders)
        self._replaced.set()
        self._polled.set()

    async def sync(
        self, collection: str | None = None, progress: Progress | None = None, *, is_local: bool = False
    ) -> SyncReport:
        """Makes one collection or all like their sources. is_local: those on a network are left to `poll`.

        Raises NotFound, KnowledgeUnavailable.
        """
        if collection is not None and collection not in self._collections:
            raise NotFound(f"There is no collection {collection!r}.")
        report = SyncReport()
        for name in (collection,) if collection is not None else tuple(self._collections):
            settings = self._collections.get(name)
            if settings is not None:
                sources = [source for source in settings.sources if not (is_local and is_polled(source))]
                report = report.plus(await self._sync(settings, sources, progress, waits=True))
        return report

    async def search(
        self,
        text: str,
        collections: Iterable[str],
        team: str,
        limit: int = 8,
        booked: Callable[[EmbeddingUse], None] | None = None,
        *,
        local_only: bool = False,
        filter: Filter | None = None,  # noqa: A002 - what OpenAI's search calls it
        fusion: Fusion | None = None,
        threshold: float = 0.0,
    ) -> KnowledgeSignal:
        """What these collections hold for a text: at most `limit` hits, best first, no near-duplicates.

        A collection that the team may not read is treated as if it did not exist, and so is a document that it may
        not read or that the filter does not let through. The score is the best hit's. When an embedder fails, words
        alone are searched. booked: told what embedding the text took, in place of the library's own. local_only: no
        upstream is asked. threshold: hits below this score are left out. Raises KnowledgeUnavailable.
        """
        if self._closed:
            raise KnowledgeUnavailable("The knowledge library is closed.")
        asked = text[-MOST_QUESTION_CHARACTERS:]
        permitted = self._permitted(collections, team)
        names = tuple(settings.name for settings in permitted)
        if not names or not asked.strip():
            return KnowledgeSignal(0.0, (), str(await self._store.version()))
        probes = await self._probing.probes(asked, permitted, booked or self._booked, local_only=local_only)
        ask = Ask(asked, team, names, 2 * limit + 4, probes, filter, fusion or CONVEX)
        found = await self._found(ask)
        hits = tuple(hit for hit in distinct(found.passages, limit) if hit.score >= threshold)
        return KnowledgeSignal(hits[0].score if hits else 0.0, hits, str(found.version))

    async def measure(
        self,
        turn: str,
        talk: str,
        collections: Iterable[str],
        team: str,
        booked: Callable[[EmbeddingUse], None] | None = None,
        *,
        local_only: bool = False,
    ) -> tuple[str, tuple[tuple[str, Evidence], ...]]:
        """For each collection that the team may read what it shows of whether it holds the answer to a call.

        turn: the last user turn. talk: the last few together. Gives the embedder's name with it, "" when words alone
        were compared: so it is as soon as one of the collections has no vectors. Raises KnowledgeUnavailable.
        """
        if self._closed:
            raise KnowledgeUnavailable("The knowledge library is closed.")
        permitted = self._permitted(collections, team)
        names = tuple(settings.name for settings in permitted)
        found = []
        for text in dict.fromkeys((turn, talk)):
            asked = text[-MOST_QUESTION_CHARACTERS:]
            probes = await self._probing.probes(asked, permitted, booked or self._booked, local_only=local_only)
            found.append(await self._store.measure(Ask(asked, team, names, 0, probes)))
        first, last = found[0], found[-1]
        has_meaning = bool(names) and all(
            measure.get(name, Measured()).meaning is not None for measure in found for name in names
        )
        told = tuple((name, evidence(first.get(name, Measured()), last.get(name, Measured()))) for name in names)
        embedders = sorted({settings.embedder or "" for settings in permitted})
        return (",".join(embedders) if has_meaning else ""), told

    def know(self, settings: CollectionSettings) -> None:
        """Makes a collection known that is not in the settings: one that a caller made, without sources of its own."""
        self._made[settings.name] = settings

    def is_configured(self, collection: str) -> bool:
        """Whether the settings name this collection: its documents are its sources' affair."""
        return collection in self._collections

    async def put(self, collection: str, source: str, document: Document, chunking: Chunking | None = None) -> int:
        """Puts one document into a collection, or in the place of its older version; the bytes of its chunks."""
        chunks = await self._workers.run(cut, document, chunking)
        await self._store.put(collection, source, (Entry(document, chunks),))
        return sum(len(chunk.text.encode(errors="replace")) for chunk in chunks)

    async def remove(self, collection: str, source: str, document: str) -> None:
        """Takes one document out: no search that begins after this finds it."""
        await self._store.remove(collection, source, document)

    async def empty(self, collection: str) -> None:
        """Takes everything out of a collection."""
        await self._store.keep_sources(collection, ())

    async def listed(self, asked: Listing) -> tuple[Kept, ...]:
        """Documents of a collection as a team may see them; none when it may not read the collection."""
        return await self._store.listed(asked) if self.permitted((asked.collection,), asked.team) else ()

    async def texts(self, collection: str, team: str, document: str) -> tuple[str, ...]:
        """The texts of a document's chunks in reading order; none for one that the team may not read."""
        return await self._store.texts(collection, team, document) if self.permitted((collection,), team) else ()

    async def embed(self, collection: str) -> tuple[str, ...]:
        """Gives vectors to all chunks of a collection that have none, if it has an embedder; what went wrong."""
        settings = self._found_settings(collection)
        embedder = self._probing.embedders.get(settings.embedder or "") if settings is not None else None
        if embedder is None:
            return ()
        faults = await self._ingest.embed(collection, embedder)
        self._probing.forget()
        return faults

    def _found_settings(self, name: str) -> CollectionSettings | None:
        return self._collections.get(name) or self._made.get(name)

    async def current(self, document: str) -> dict[str, str]:
        """The version of a document by the collections of the settings that hold it."""
        found = await self._store.current(document)
        return {name: version for name, version in found.items() if name in self._collections or name in self._made}

    async def status(self) -> tuple[CollectionStatus, ...]:
        """What each collection holds now, in the order of the settings."""
        counts = await self._store.counts()
        return tuple(
            CollectionStatus(name, settings.title, *counts.get(name, (0, 0)), settings.teams)
            for name, settings in self._collections.items()
        )

    def sources(self) -> tuple[SourceStatus, ...]:
        """How the passes over each source went, in the order of the settings."""
        return tuple(
            SourceStatus(settings.name, source.kind, source.path, self._records.get(f"{settings.name}:{source.key}"))
            for settings in self._collections.values()
            for source in settings.sources
        )

    async def poll(self) -> None:
        """Asks remote sources, each at its own pace, until `close` or cancellation; `watch` waits for none of them."""
        poller = Poller(self._poll_one, self._due_at, self._wall)
        try:
            while not self._closed:
                self._polled.clear()
                await poller.replace(self._collections.values())
                await self._polled.wait()
        finally:
            await poller.close()

    async def note(self) -> str:
        """What an operator should know of the store as it stands; "" when there is nothing."""
        return await self._store.note()

    async def watch(self) -> None:
        """Keeps all collections like their folders and files until `close` or cancellation.

        A saved file is searchable some 100 ms later. Everything is compared once at the start and every half
        minute; a store or file that fails is logged and tried again then.
        """
        while not self._closed:
            self._replaced.clear()
            folders = self._folders()
            ticks = RESCAN_TICKS
            async for changed in notice(folders, self._replaced):
                ticks += 1
                whole = ticks > RESCAN_TICKS
                await self._catch_up(changed, whole=whole)
                ticks = 0 if whole else ticks
                if self._closed or self._replaced.is_set() or self._folders() != folders:
                    break

    async def close(self) -> None:
        """Ends `watch` and `poll`, waits for passes and searches in hand, then closes the store."""
        self._closed = True
        self._replaced.set()
        self._polled.set()
        for lock in tuple(self._locks.values()):  # A pass that holds one ends whole; none begins any more.
            async with lock:
                pass
        await self._workers.finish()
        await self._store.close()

    def _permitted(self, collections: Iterable[str], team: str) -> list[CollectionSettings]:
        return [
            settings
            for name in dict.fromkeys(collections)
            if (settings := self._found_settings(name)) is not None and settings.readable_by(team)
        ]

    async def _found(self, ask: Ask) -> Found:
        try:
            return await self._store.search(ask)
        except DimensionMismatch as fault:
            _log.warning("question_not_compared fault=%s", fault)
            return await self._store.search(msgspec.structs.replace(ask, probes={}))

    async def _sync(
        self,
        settings: CollectionSettings,
        sources: Iterable[SourceSettings],
        progress: Progress | None = None,
        *,
        waits: bool = False,
    ) -> SyncReport:
        """Passes over some sources of a collection; over one source one pass at a time."""
        report = SyncReport()
        async with self._lock(settings.name):
            if self._closed:
                return report
            keys = tuple(source.key for source in settings.sources)
            report = report.plus(SyncReport(removed=await self._store.keep_sources(settings.name, keys)))
        for source in sources:
            report = report.plus(await self._pass(settings, source, progress))
        embedder = self._probing.embedders.get(settings.embedder or "")
        vectors = f"{settings.name} vectors"
        lock = self._lock(vectors)
        # Whoever holds it goes on until no chunk waits: a folder's words need not wait for a website's vectors.
        if embedder is not None and (waits or not lock.locked()):
            async with lock, self._store.syncing(vectors) as is_ours:
                if is_ours and not self._closed:
                    faults = await self._ingest.embed(settings.name, embedder)
                    report = report.plus(SyncReport(faults=faults))
                    self._probing.forget()
        return report

    async def _pass(
        self, settings: CollectionSettings, source: SourceSettings, progress: Progress | None = None
    ) -> SyncReport:
        key = f"{settings.name}:{source.key}"
        async with self._lock(key), self._store.syncing(key) as is_ours:
            if self._closed or not is_ours:
                return SyncReport()
            seen = Observed()
            changes = seen.through(connector_of(source))
            report = await self._ingest.read(settings.name, source.key, changes, progress)
            now = self._wall()
            if seen.is_whole:
                self.passed[key] = now
            self._note(key, after_pass(self._records.get(key), source, seen, report, now))
            return report

    async def _poll_one(self, settings: CollectionSettings, source: SourceSettings) -> None:
        key = f"{settings.name}:{source.key}"
        try:
            report = await self._sync(settings, (source,))
        except GatewayError as fault:
            # The store is away: asked again at the next turn, and none of the source's doing.
            report = SyncReport(faults=(str(fault),))
            self._note(key, after_pass(self._records.get(key), source, Observed(), report, self._wall()))
        self._tell(key, report)

    def _note(self, key: str, record: SourceRecord) -> None:
        known = [f"{one.name}:{each.key}" for one in self._collections.values() for each in one.sources]
        self._records.put(key, record, known)

    def _due_at(self, settings: CollectionSettings, source: SourceSettings) -> float:
        record = self._records.get(f"{settings.name}:{source.key}")
        return record.next_at or 0.0 if record.settings == source.fingerprint else 0.0

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _tell(self, name: str, report: SyncReport) -> None:
        if report.faults != self._faults.get(name, ()):
            for line in report.faults:
                _log.warning("source_faulty collection=%s fault=%s", name, line)
            self._faults[name] = report.faults

    def _folders(self) -> tuple[Path, ...]:
        """The folders that exist now, each once."""
        found = {
            Path(source.path).resolve()
            for settings in self._collections.values()
            for source in settings.sources
            if source.kind == "folder"
        }
        return tuple(sorted(folder for folder in found if folder.is_dir()))

    async def _catch_up(self, changed: Sequence[Path], *, whole: bool) -> None:
        for settings in tuple(self._collections.values()):
            watched = [source for source in settings.sources if not is_polled(source)]
            due = [source for source in watched if self._is_due(source, changed, whole=whole)]
            if not due and not (whole and settings.embedder):
                continue
            try:
                report = await self._sync(settings, due)
            except GatewayError as fault:
                report = SyncReport(faults=(str(fault),))
            self._tell(settings.name, report)

    def _is_due(self, source: SourceSettings, changed: Sequence[Path], *, whole: bool) -> bool:
        place = Path(source.path).resolve()
        if source.kind == "folder":
            return whole or any(path.is_relative_to(place) for path in changed)
        # One file is asked for its time at each tick: watching it ends with the first save by rename.
        try:
            stat = place.stat()
        except OSError:
            return whole
        stamp = (stat.st_mtime_ns, stat.st_size)
        if whole or self._stamps.get(source.path) != stamp:
            self._stamps[source.path] = stamp
            return True
        return False
