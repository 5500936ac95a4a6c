"""The library: collections kept like their sources, and searched for teams that may read them."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from gateway.core.errors import KnowledgeUnavailable
from gateway.core.facts import Evidence, KnowledgeSignal
from gateway.core.ids import MADE
from gateway.knowledge.chunks import Chunking, cut
from gateway.knowledge.document import Document
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.filters import Filter
from gateway.knowledge.fusion import Fusion
from gateway.knowledge.ingest import EmbeddingUse, Ingest, Progress, SyncReport
from gateway.knowledge.polling import SourceRecords, SourceStatus
from gateway.knowledge.reranking import Build
from gateway.knowledge.searching import Searching
from gateway.knowledge.settings import CollectionSettings, CollectionStatus
from gateway.knowledge.stores import Entry, Kept, Listing, Store
from gateway.knowledge.sync import Passes
from gateway.knowledge.workers import Workers

LookUp = Callable[[str], Awaitable[CollectionSettings | None]]

_log = logging.getLogger(__name__)


def _not_booked(_use: EmbeddingUse) -> None:
    """Where nobody asks what embedding costs."""


class Library:
    """Collections over one store. All methods belong to one event loop.

    embedders: by the names that collections use. booked: told of every use of an embedder. records: how passes went.
    build: makes rerankers from collections' settings; without it there are none.
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
        build: Build | None = None,
    ) -> None:
        self._store = store
        self._collections = {collection.name: collection for collection in collections}
        self._made: dict[str, CollectionSettings] = {}
        # By collection made by a caller: what asks an embedder for it twice at once pays twice.
        self._at_vectors: dict[str, asyncio.Lock] = {}
        # Asked for a collection that is named like one that a caller made; None where there are none.
        self.look_up: LookUp | None = None
        self._searching = Searching(store, embedders, build)
        self._probing = self._searching.probing
        self._booked = booked
        self._wall = wall
        self._workers = Workers()
        self._ingest = Ingest(store, self._workers, wall, booked)
        self._passes = Passes(store, self._ingest, self._probing, self._collections, records or SourceRecords(), wall)
        self._closed = False

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
        self._made.clear()  # Their embedder is the settings' affair too; they are looked up again.
        if embedders is not None:
            self._probing.embedders = dict(embedders)
        self._passes.replace(self._collections)

    @property
    def passed(self) -> Mapping[str, float]:
        """When each source was last compared with its collection, by `collection:source`, in Unix seconds."""
        return self._passes.passed

    async def sync(
        self, collection: str | None = None, progress: Progress | None = None, *, is_local: bool = False
    ) -> SyncReport:
        """See Passes."""
        return await self._passes.sync(collection, progress, is_local=is_local)

    async def watch(self) -> None:
        """See Passes."""
        await self._passes.watch()

    async def poll(self) -> None:
        """See Passes."""
        await self._passes.poll()

    def sources(self) -> tuple[SourceStatus, ...]:
        """See Passes."""
        return self._passes.sources()

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
        rerank: bool = True,
    ) -> KnowledgeSignal:
        """What these collections hold for a text: at most `limit` hits, best first, no near-duplicates.

        A collection that the team may not read is treated as if it did not exist, and so is a document that it may
        not read or that the filter does not let through. The score is the best hit's. When an embedder fails, words
        alone are searched. booked: told what embedding the text took, in place of the library's own. local_only: no
        upstream is asked. threshold: hits below this score are left out. rerank: whether collections' rerankers are
        asked; when one fails, the order stays the fused one. Raises KnowledgeUnavailable.
        """
        if self._closed:
            raise KnowledgeUnavailable("The knowledge library is closed.")
        return await self._searching.search(
            text,
            team,
            self._permitted(collections, team),
            limit,
            booked or self._booked,
            local_only=local_only,
            wanted=filter,
            fusion=fusion,
            threshold=threshold,
            rerank=rerank,
        )

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
        collections = tuple(collections)
        await self._learn(collections)
        permitted = self._permitted(collections, team)
        to_book = booked or self._booked
        return await self._searching.measure(turn, talk, team, permitted, to_book, local_only=local_only)

    async def _learn(self, collections: Iterable[str]) -> None:
        """Has collections looked up that are named like those that callers make, and that this process has not met."""
        for name in collections:
            if name.startswith(MADE) and self.look_up is not None and self._found_settings(name) is None:
                settings = await self.look_up(name)
                if settings is not None:
                    self.know(settings)

    def maker_of(self, collection: str) -> str | None:
        """The team that made a collection; None for one of the settings, and for one that is not known."""
        settings = self._made.get(collection)
        return settings.teams[0] if settings is not None and settings.teams else None

    def know(self, settings: CollectionSettings) -> None:
        """Makes a collection known that is not in the settings: one that a caller made, without sources of its own."""
        self._made[settings.name] = settings

    def is_configured(self, collection: str) -> bool:
        """Whether the settings name this collection: its documents are its sources' affair."""
        return collection in self._collections

    async def put(
        self, collection: str, source: str, documents: Sequence[tuple[Document, Chunking | None]]
    ) -> tuple[int, ...]:
        """Puts documents into a collection, each in the place of its older version; the bytes of each one's chunks.

        All go in together or not at all.
        """
        entries = [Entry(document, await self._workers.run(cut, document, how)) for document, how in documents]
        if entries:
            await self._store.put(collection, source, entries)
        return tuple(sum(len(chunk.text.encode(errors="replace")) for chunk in entry.chunks) for entry in entries)

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
        lock = self._at_vectors.setdefault(collection, asyncio.Lock())
        async with lock, self._store.syncing(f"{collection} vectors") as is_ours:
            if not is_ours:
                return (f"{collection}: another process is giving vectors to its chunks.",)
            faults = await self._ingest.embed(collection, embedder)
        self._probing.forget()
        return faults

    def _found_settings(self, name: str) -> CollectionSettings | None:
        return self._collections.get(name) or self._made.get(name)

    async def current(self, document: str) -> dict[str, str]:
        """The version of a document by the collections that hold it, those that callers made among them.

        A collection that the settings no longer name is passed over: nothing is answered from it any more.
        """
        found = await self._store.current(document)
        return {name: at for name, at in found.items() if name in self._collections or name.startswith(MADE)}

    async def status(self) -> tuple[CollectionStatus, ...]:
        """What each collection holds now, in the order of the settings."""
        counts = await self._store.counts()
        return tuple(
            CollectionStatus(name, settings.title, *counts.get(name, (0, 0)), settings.teams)
            for name, settings in self._collections.items()
        )

    async def note(self) -> str:
        """What an operator should know of the store as it stands; "" when there is nothing."""
        return await self._store.note()

    async def close(self) -> None:
        """Ends `watch` and `poll`, waits for passes and searches in hand, then closes the store."""
        self._closed = True
        await self._passes.close()
        await self._workers.finish()
        await self._store.close()

    def _permitted(self, collections: Iterable[str], team: str) -> list[CollectionSettings]:
        return [
            settings
            for name in dict.fromkeys(collections)
            if (settings := self._found_settings(name)) is not None and settings.readable_by(team)
        ]
