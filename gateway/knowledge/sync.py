"""Passes over sources: collections kept like what they are read from."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gateway.core.errors import GatewayError, NotFound
from gateway.knowledge.ingest import Ingest, Progress, SyncReport
from gateway.knowledge.polling import Observed, Poller, SourceRecord, SourceRecords, SourceStatus, after_pass
from gateway.knowledge.probes import Probing
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.sources import connector_of, is_polled
from gateway.knowledge.stores import Store
from gateway.knowledge.watch import notice

RESCAN_TICKS = 100  # Half a minute of 0.3 s ticks: the longest that an event the system lost stays lost.

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
        for lock in tuple(self._locks.values()):  # A pass that holds one ends whole; none begins any more.
            async with lock:
                pass

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
