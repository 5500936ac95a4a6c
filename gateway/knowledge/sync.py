"""Passes over sources: collections kept like what they are read from."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from gateway.core.errors import GatewayError, NotFound
from gateway.knowledge.ingest import Ingest, Progress, SyncReport
from gateway.knowledge.polling import Observed, Poller, SourceRecord, SourceRecords, SourceStatus, after_pass
from gateway.knowledge.probes import Probing
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.sources import connector_of, is_polled
from gateway.knowledge.stores import Store
from gateway.knowledge.turns import Turns
from gateway.knowledge.walks import Walk, walk_key
from gateway.knowledge.watch import notice

RESCAN_TICKS = 100  # Half a minute of 0.3 s ticks: the longest that an event the system lost stays lost.
# Each holds a connection to PostgreSQL for as long as it takes, of ten; four are the poller's, the rest is for edits.
WHOLE_AT_ONCE = 3
VECTORS_AT_ONCE = 2

_log = logging.getLogger(__name__)


class Passes:
    """Reads sources into one store, by hand, when files change, and now and then. Belongs to one event loop.

    probing: told when the vectors that answer have changed. records: how passes went.
    """

    def __init__(
        self,
        store: Store,
        ingest: Ingest,
        probing: Probing,
        collections: Mapping[str, CollectionSettings],
        records: SourceRecords,
        wall: Callable[[], float],
    ) -> None:
        self._store = store
        self._ingest = ingest
        self._probing = probing
        self._collections = collections
        self._records = records
        self._wall = wall
        # When each source was last compared with its collection, by `collection:source`, in Unix seconds.
        self.passed: dict[str, float] = {}
        # By collection what is between sources, by `collection:source` a pass: none waits for another's network.
        self._locks: dict[str, asyncio.Lock] = {}
        self._replaced = asyncio.Event()
        self._polled = asyncio.Event()
        self._closed = False
        # Watched sources and collections' vectors, each in a task of its own; by source what it is to look at next,
        # None for everything.
        self._turns = Turns()
        self._vectors = Turns()
        self._due: dict[str, set[Path] | None] = {}
        self._whole_room = asyncio.Semaphore(WHOLE_AT_ONCE)
        self._vector_room = asyncio.Semaphore(VECTORS_AT_ONCE)
        self._stamps: dict[str, tuple[int, int]] = {}
        self._faults: dict[str, tuple[str, ...]] = {}

    def replace(self, collections: Mapping[str, CollectionSettings]) -> None:
        """New settings; `watch` and `poll` act on them within a second."""
        self._collections = collections
        self._replaced.set()
        self._polled.set()

    async def close(self) -> None:
        """Ends `watch` and `poll`, and waits for passes in hand."""
        self._closed = True
        self._replaced.set()
        self._polled.set()
        # An embedder may take its time: what it has not seen waits for the next process.
        await self._vectors.cancel()
        await self._turns.finish()
        for lock in tuple(self._locks.values()):  # A pass that holds one ends whole; none begins any more.
            async with lock:
                pass

    async def sync(
        self, collection: str | None = None, progress: Progress | None = None, *, is_local: bool = False
    ) -> SyncReport:
        """Makes one collection or all like their sources, words first.

        is_local: sources on a network are left to `poll`, and vectors to `watch`. Raises NotFound,
        KnowledgeUnavailable.
        """
        if collection is not None and collection not in self._collections:
            raise NotFound(f"There is no collection {collection!r}.")
        names = (collection,) if collection is not None else tuple(self._collections)
        report = SyncReport()
        for name in names:
            settings = self._collections.get(name)
            if settings is None:
                continue
            report = report.plus(await self._keep_sources(settings))
            for source in settings.sources:
                if not (is_local and is_polled(source)):
                    report = report.plus(await self._pass(settings, source, progress))
        for name in names if not is_local else ():
            report = report.plus(await self._embed(name))
        return report

    def sources(self) -> tuple[SourceStatus, ...]:
        """How the passes over each source went, in the order of the settings."""
        return tuple(
            SourceStatus(settings.name, source.kind, source.place, self._records.get(f"{settings.name}:{source.key}"))
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

    async def watch(self) -> None:
        """Keeps all collections like their folders and files until `close` or cancellation.

        A saved file is searchable some 100 ms later, however large its folder and whatever is loaded beside it.
        Everything is compared once at the start and every half minute; a store or file that fails is logged and
        tried again then.
        """
        try:
            while not self._closed:
                self._replaced.clear()
                await self._turns.cancel(set(self._turns.names()) - self._watched().keys())
                folders = self._folders()
                ticks = RESCAN_TICKS
                async for changed in notice(folders, self._replaced):
                    ticks += 1
                    whole = ticks > RESCAN_TICKS
                    self._catch_up(changed, whole=whole)
                    ticks = 0 if whole else ticks
                    if self._closed or self._replaced.is_set() or self._folders() != folders:
                        break
        finally:
            if not self._closed:
                await self._turns.cancel()

    async def _keep_sources(self, settings: CollectionSettings) -> SyncReport:
        """Removes what the settings of a collection no longer name."""
        async with self._lock(settings.name):
            if self._closed:
                return SyncReport()
            keys = [key for source in settings.sources for key in (source.key, walk_key(source))]
            return SyncReport(removed=await self._store.keep_sources(settings.name, keys))

    async def _embed(self, name: str) -> SyncReport:
        """Gives vectors to the chunks of a collection that have none."""
        settings = self._collections.get(name)
        embedder = self._probing.embedders.get(settings.embedder or "") if settings is not None else None
        vectors = f"{name} vectors"
        if embedder is None:
            return SyncReport()
        async with self._lock(vectors), self._store.syncing(vectors) as is_ours:
            if self._closed or not is_ours:
                return SyncReport()
            faults = await self._ingest.embed(name, embedder)
            self._probing.forget()
            return SyncReport(faults=faults)

    async def _pass(
        self,
        settings: CollectionSettings,
        source: SourceSettings,
        progress: Progress | None = None,
        paths: set[Path] | None = None,
    ) -> SyncReport:
        """A pass over a source. paths: it is enough to look at these, if looking can tell."""
        key = f"{settings.name}:{source.key}"
        async with self._lock(key), self._store.syncing(key) as is_ours:
            if self._closed or not is_ours:
                return SyncReport()
            walk = Walk(self._store, settings.name, source, self._wall) if source.kind == "folder" else None
            looked = await walk.look(paths) if walk is not None and paths else None
            if looked is not None:
                return await self._ingest.touch(settings.name, source.key, looked)
            seen = Observed()
            changes = seen.through(walk or connector_of(source))
            report = await self._ingest.read(settings.name, source.key, changes, progress)
            now = self._wall()
            if seen.is_whole:
                self.passed[key] = now
            self._note(key, after_pass(self._records.get(key), source, seen, report, now))
            return report

    async def _poll_one(self, settings: CollectionSettings, source: SourceSettings) -> None:
        key = f"{settings.name}:{source.key}"
        try:
            report = (await self._keep_sources(settings)).plus(await self._pass(settings, source))
        except GatewayError as fault:
            # The store is away: asked again at the next turn, and none of the source's doing.
            report = SyncReport(faults=(str(fault),))
            self._note(key, after_pass(self._records.get(key), source, Observed(), report, self._wall()))
        self._tell(key, report)
        self._begin_vectors(settings.name)

    def _begin_vectors(self, name: str) -> None:
        """Has a collection's chunks embedded beside everything else: words wait for no embedder."""
        settings = self._collections.get(name)
        if settings is not None and settings.embedder and not self._closed:
            self._vectors.begin(name, partial(self._embed_beside, name))

    async def _embed_beside(self, name: str) -> None:
        try:
            async with self._vector_room:
                report = await self._embed(name)
        except GatewayError as fault:
            report = SyncReport(faults=(str(fault),))
        self._tell(f"{name} vectors", report)

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

    def _catch_up(self, changed: Sequence[Path], *, whole: bool) -> None:
        """Begins what is due, each source beside all others."""
        for key, (settings, source) in self._watched().items():
            if not self._is_due(source, changed, whole=whole):
                continue
            before = self._due.get(key, set())
            if whole or source.kind != "folder" or before is None:
                self._due[key] = None
            else:
                self._due[key] = before.union(changed)
            self._turns.begin(key, partial(self._watched_pass, settings, source))
        for name in self._collections if whole else ():
            self._begin_vectors(name)

    async def _watched_pass(self, settings: CollectionSettings, source: SourceSettings) -> None:
        key = f"{settings.name}:{source.key}"
        paths = self._due.pop(key, set())
        try:
            if paths is None:
                async with self._whole_room:
                    report = (await self._keep_sources(settings)).plus(await self._pass(settings, source))
            else:
                report = await self._pass(settings, source, paths=paths)
        except GatewayError as fault:
            paths, report = None, SyncReport(faults=(str(fault),))
        if paths is None or report.faults:
            self._tell(key, report)
        if report.added or report.updated or report.removed:
            self._begin_vectors(settings.name)

    def _watched(self) -> dict[str, tuple[CollectionSettings, SourceSettings]]:
        return {
            f"{settings.name}:{source.key}": (settings, source)
            for settings in self._collections.values()
            for source in settings.sources
            if not is_polled(source)
        }

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
