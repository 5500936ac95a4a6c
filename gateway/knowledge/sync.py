"""The library: collections kept like their sources, and searched for teams that may read them."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gateway.core.errors import GatewayError, KnowledgeUnavailable, NotFound
from gateway.core.facts import Evidence, KnowledgeSignal
from gateway.core.question import cut_question
from gateway.core.values import Value
from gateway.knowledge.chunks import Passage
from gateway.knowledge.connectors import Connector
from gateway.knowledge.connectors.folder import FolderConnector
from gateway.knowledge.connectors.jsonl import JsonlConnector
from gateway.knowledge.distinct import distinct
from gateway.knowledge.embedders import DimensionMismatch, EmbedderFailed
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.ingest import EmbeddingUse, Ingest, Progress, SyncReport
from gateway.knowledge.measure import Measured, evidence
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores import Probe, Store
from gateway.knowledge.watch import notice
from gateway.knowledge.workers import Workers

RESCAN_TICKS = 100  # Half a minute of 0.3 s ticks: the longest that an event the system lost stays lost.
MOST_QUESTION_CHARACTERS = 20_000

_log = logging.getLogger(__name__)

_CONNECTORS: dict[str, Callable[[SourceSettings], Connector]] = {
    "folder": FolderConnector,
    "jsonl": JsonlConnector,
}


def _not_booked(_use: EmbeddingUse) -> None:
    """Where nobody asks what embedding costs."""


class CollectionStatus(Value, frozen=True):
    """How many documents and chunks a collection holds, and the teams that may read it."""

    name: str
    title: str
    documents: int
    chunks: int
    teams: tuple[str, ...]


class Library:
    """Collections over one store. All methods belong to one event loop; the store works in threads.

    embedders: by the names that collections use. booked: told of every use of an embedder.
    """

    def __init__(
        self,
        store: Store,
        collections: Iterable[CollectionSettings],
        embedders: Mapping[str, Remembered],
        *,
        booked: Callable[[EmbeddingUse], None] = _not_booked,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._collections = {collection.name: collection for collection in collections}
        self._embedders = dict(embedders)
        self._booked = booked
        self._wall = wall
        # When each source was last compared with its collection, by `collection:source`, in Unix seconds.
        self.passed: dict[str, float] = {}
        self._workers = Workers()
        self._ingest = Ingest(store, self._workers, wall, booked)
        self._locks: dict[str, asyncio.Lock] = {}
        self._replaced = asyncio.Event()
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
            self._embedders = dict(embedders)
        self._replaced.set()

    async def sync(self, collection: str | None = None, progress: Progress | None = None) -> SyncReport:
        """Makes one collection or all like their sources. Raises NotFound, KnowledgeUnavailable."""
        if collection is not None and collection not in self._collections:
            raise NotFound(f"There is no collection {collection!r}.")
        report = SyncReport()
        for name in (collection,) if collection is not None else tuple(self._collections):
            settings = self._collections.get(name)
            if settings is not None:
                report = report.plus(await self._sync(settings, settings.sources, progress))
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
    ) -> KnowledgeSignal:
        """What these collections hold for a text: at most `limit` hits, best first, no near-duplicates.

        A collection that the team may not read is treated as if it did not exist. The score is the best
        hit's. When an embedder fails, words alone are searched. booked: told what embedding the text took, in
        place of the library's own. local_only: no embedder at an upstream is asked. Raises KnowledgeUnavailable.
        """
        if self._closed:
            raise KnowledgeUnavailable("The knowledge library is closed.")
        asked = text[-MOST_QUESTION_CHARACTERS:]
        permitted = self._permitted(collections, team)
        probes = await self._probes(asked, permitted, booked or self._booked, local_only=local_only)
        names = tuple(settings.name for settings in permitted)
        version, hits = await self._workers.run(self._found, asked, names, probes, limit)
        return KnowledgeSignal(hits[0].score if hits else 0.0, hits, str(version))

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
            probes = await self._probes(asked, permitted, booked or self._booked, local_only=local_only)
            found.append(await self._workers.run(self._store.measure, asked, names, probes))
        first, last = found[0], found[-1]
        has_meaning = bool(names) and all(
            measure.get(name, Measured()).meaning is not None for measure in found for name in names
        )
        told = tuple((name, evidence(first.get(name, Measured()), last.get(name, Measured()))) for name in names)
        embedders = sorted({settings.embedder or "" for settings in permitted})
        return (",".join(embedders) if has_meaning else ""), told

    async def current(self, document: str) -> dict[str, str]:
        """The version of a document by the collections of the settings that hold it."""
        found = await self._workers.run(self._store.current, document)
        return {name: version for name, version in found.items() if name in self._collections}

    async def status(self) -> tuple[CollectionStatus, ...]:
        """What each collection holds now, in the order of the settings."""
        counts = await self._workers.run(self._store.counts)
        return tuple(
            CollectionStatus(name, settings.title, *counts.get(name, (0, 0)), settings.teams)
            for name, settings in self._collections.items()
        )

    async def watch(self) -> None:
        """Keeps all collections like their sources until `close` or cancellation.

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
        """Ends `watch`, waits for passes and searches in hand, then closes the store."""
        self._closed = True
        self._replaced.set()
        for lock in self._locks.values():  # A pass that holds one ends whole; none begins any more.
            async with lock:
                pass
        await asyncio.to_thread(self._workers.close)
        self._store.close()

    def _permitted(self, collections: Iterable[str], team: str) -> list[CollectionSettings]:
        return [
            settings
            for name in dict.fromkeys(collections)
            if (settings := self._collections.get(name)) is not None and settings.readable_by(team)
        ]

    def _found(
        self, text: str, collections: Sequence[str], probes: Mapping[str, Probe], limit: int
    ) -> tuple[int, tuple[Passage, ...]]:
        # The version is read first: an answer filed under it is at worst newer than it says, never older.
        version = self._store.version()
        if not collections or not text.strip():
            return version, ()
        passages = self._store.search(text, collections, probes, 2 * limit + 4)
        return version, distinct(passages, limit)

    async def _probes(
        self,
        text: str,
        collections: Iterable[CollectionSettings],
        booked: Callable[[EmbeddingUse], None],
        *,
        local_only: bool,
    ) -> dict[str, Probe]:
        """The text as a vector for each collection with an embedder; each embedder is asked once."""
        made: dict[str, Probe | None] = {}
        probes: dict[str, Probe] = {}
        for settings in collections:
            embedder = self._embedders.get(settings.embedder or "")
            if embedder is None or not text.strip() or (local_only and not embedder.is_local):
                continue
            if embedder.name not in made:
                made[embedder.name] = await self._probe(text, settings.name, embedder, booked)
            probe = made[embedder.name]
            if probe is not None:
                probes[settings.name] = probe
        return probes

    async def _probe(
        self, text: str, collection: str, embedder: Remembered, booked: Callable[[EmbeddingUse], None]
    ) -> Probe | None:
        def took(tokens: int | None) -> None:
            booked(EmbeddingUse(collection, embedder.name, "query", 1, tokens))

        try:
            return Probe(embedder.name, await embedder.question(cut_question(text), took))
        except (EmbedderFailed, DimensionMismatch) as fault:
            _log.warning("question_not_embedded embedder=%s fault=%s", embedder.name, fault)
            return None

    async def _sync(
        self,
        settings: CollectionSettings,
        sources: Iterable[SourceSettings],
        progress: Progress | None = None,
    ) -> SyncReport:
        """Passes over some sources of a collection; one pass at a time."""
        report = SyncReport()
        async with self._locks.setdefault(settings.name, asyncio.Lock()):
            if self._closed:
                return report
            keys = tuple(source.key for source in settings.sources)
            dropped = await self._workers.run(self._store.keep_sources, settings.name, keys)
            report = report.plus(SyncReport(removed=dropped))
            for source in sources:
                connector = _CONNECTORS[source.kind](source)
                one = await self._ingest.read(settings.name, source.key, connector, progress)
                report = report.plus(one)
                self.passed[f"{settings.name}:{source.key}"] = self._wall()
            embedder = self._embedders.get(settings.embedder or "")
            if embedder is not None:
                faults = await self._ingest.embed(settings.name, embedder)
                report = report.plus(SyncReport(faults=faults))
        return report

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
            due = [source for source in settings.sources if self._is_due(source, changed, whole=whole)]
            if not due and not (whole and settings.embedder):
                continue
            try:
                report = await self._sync(settings, due)
            except GatewayError as fault:
                report = SyncReport(faults=(str(fault),))
            if report.faults != self._faults.get(settings.name, ()):
                for line in report.faults:
                    _log.warning("source_faulty collection=%s fault=%s", settings.name, line)
                self._faults[settings.name] = report.faults

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
