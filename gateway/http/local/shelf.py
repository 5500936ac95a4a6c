"""Files and vector stores of one process: all their parts, and what keeps them in order beside the calls."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.db.away import told_when_away
from gateway.db.engine import Database
from gateway.files.uploads.store import Uploads
from gateway.http.local.files import Files
from gateway.http.local.fine_tuning import FineTuning
from gateway.http.local.foreign import ForeignFiles
from gateway.http.local.search import Embedded, Search
from gateway.http.local.surface import KEPT, Local
from gateway.http.local.uploads import UploadParts
from gateway.http.local.vector_stores import Stores
from gateway.identity.keys import KeyRing
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings
from gateway.knowledge.vector_stores.loading import Loader
from gateway.knowledge.vector_stores.loads.store import StoreFiles
from gateway.knowledge.vector_stores.store import VectorStores
from gateway.knowledge.vector_stores.values import VectorStore
from gateway.tuned import Tuned
from gateway.upstream.upstreams import Upstreams

SWEEP_SECONDS = 60.0

Work = Callable[[], Coroutine[Any, Any, None]]


class Shelf:
    """surface: what answers requests."""

    def __init__(
        self,
        database: Database,
        library: Library,
        keys: KeyRing,
        embedded: Embedded,
        upstreams: Upstreams,
        clock: Clock,
        tuned: Tuned,
    ) -> None:
        self._clock = clock
        self._rulebook = tuned.training.rulebook
        self.files = files = tuned.files
        self.uploads = Uploads(database)
        self.stores = VectorStores(database)
        inside = StoreFiles(database)
        self.loader = Loader(library, self.stores, inside, self.files.find, self.files.content, self.settings_of, clock)
        foreign = ForeignFiles(self._upstream, upstreams, files)
        self._files = Files(self.files, inside, foreign)
        self._stores = stores = Stores(self.stores, inside, self._files, library, self.loader, self.settings_of, clock)
        uploads = UploadParts(self.uploads, files, clock)
        tuning = FineTuning(tuned.jobs, tuned.models, files, tuned.training, clock)
        self.surface = Local(keys, clock, self._files, stores, Search(stores, embedded), uploads, tuning)

    async def searchable(self, ids: tuple[str, ...], principal: Principal) -> tuple[str, ...]:
        """See Stores."""
        with told_when_away(KEPT):
            return await self._stores.searchable(ids, principal)

    async def contents(self, ids: tuple[str, ...], principal: Principal) -> dict[str, tuple[str, bytes]]:
        """See Files."""
        with told_when_away(KEPT):
            return await self._files.contents(ids, principal)

    def settings_of(self, store: VectorStore) -> CollectionSettings:
        """A vector store as the library searches it: for its own team alone."""
        return CollectionSettings(store.id, store.name, (), (store.team,), self._embedder())

    def _embedder(self) -> str | None:
        """The embedder of knowledge.yaml for vector stores, or None for words only."""
        return self._rulebook().knowledge.vector_stores.embedder

    def _upstream(self) -> str:
        """Where the files lie that are not kept here."""
        return self._rulebook().policy.catalogue.default_upstream()

    async def look_up(self, identity: str) -> CollectionSettings | None:
        """A vector store as the library searches it, or None."""
        with told_when_away(KEPT):
            store = await self.stores.find(identity, counted=False)
        return None if store is None or not store.team else self.settings_of(store)

    async def declare(self, collections: dict[str, str]) -> None:
        """Lists the collections of knowledge.yaml, by name with their titles, among the vector stores."""
        await self.stores.declare(collections, self._clock.wall())

    def works(self, *, sweeps: bool) -> tuple[tuple[str, Work], ...]:
        """What is to run for as long as the process does. sweeps: whether this process tidies up for all."""
        tidying: tuple[tuple[str, Work], ...] = (
            ("expired-stores", self.loader.sweep),
            ("expired-files", self._sweep),
            ("other-vectors", lambda: self.loader.embed_anew(self._embedder)),
        )
        return (("loader", self.loader.run), *(tidying if sweeps else ()))

    async def _sweep(self) -> None:
        while True:
            now = self._clock.wall()
            for file in await self.files.expired(now):
                await self._files.delete(file, self.loader.take_out)
            await self.uploads.sweep(now)
            await asyncio.sleep(SWEEP_SECONDS)
