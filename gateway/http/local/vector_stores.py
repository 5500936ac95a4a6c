"""/v1/vector_stores: a team's own collections, and those of knowledge.yaml that it may read."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import InvalidRequest, NotFound, NotPermitted
from gateway.http.local.files import Files
from gateway.http.local.reading import body_of, metadata_of, page_asked, query_of
from gateway.http.local.replies import Json, deleted, listed, store_object
from gateway.http.local.written import (
    MOST_AT_CREATION,
    ChangedStore,
    ExpiresAfter,
    NewStore,
    bounded,
    chunking_of,
)
from gateway.knowledge.library import Library
from gateway.knowledge.vector_stores.loading import Loader, SettingsOf
from gateway.knowledge.vector_stores.loads.store import StoreFiles
from gateway.knowledge.vector_stores.store import VectorStores
from gateway.knowledge.vector_stores.values import Counts, FileToPut, VectorStore

MOST_ITEMS = 100
USUAL_ITEMS = 20
USED_SECONDS = 60.0
SEEN_SECONDS = 1.0
MOST_SEEN = 1_000
PATH = "rag"

_new = msgspec.json.Decoder(NewStore)
_changed = msgspec.json.Decoder(ChangedStore)


class Stores:
    """Answers for vector stores. A store of another team looks like one that does not exist."""

    def __init__(
        self,
        stores: VectorStores,
        inside: StoreFiles,
        files: Files,
        library: Library,
        loader: Loader,
        settings_of: SettingsOf,
        clock: Clock,
    ) -> None:
        self.inside = inside
        self.library = library
        self.loader = loader
        self.clock = clock
        self._stores = stores
        self._files = files
        self._settings_of = settings_of
        self._seen: dict[str, tuple[float, VectorStore]] = {}

    async def find(self, identity: str, principal: Principal, *, counted: bool = True) -> VectorStore | None:
        """The store; None for one that is not known here. counted: with its files counted.

        Raises NotFound (404) for one that the team may not use.
        """
        store = await self._stores.find(identity) if counted else await self._lately(identity)
        if self.library.is_configured(identity):
            if store is None or not self.library.permitted((identity,), principal.team):
                raise no_store(identity)
            return await self._with_counts(store) if counted else store
        if store is None:
            return None
        if store.team != principal.team:
            raise no_store(identity)
        self.library.know(self._settings_of(store))
        return store

    async def _lately(self, identity: str) -> VectorStore | None:
        """The store without its counts, as it was within the last second: a search is not to wait for the database.

        What it holds is asked of the library each time, so one that was deleted meanwhile is found empty.
        """
        now = self.clock.monotonic()
        seen = self._seen.get(identity)
        if seen is not None and now - seen[0] < SEEN_SECONDS:
            return seen[1]
        store = await self._stores.find(identity, counted=False)
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        if store is not None:
            self._seen[identity] = (now, store)
        return store

    async def searchable(self, ids: tuple[str, ...], principal: Principal) -> tuple[str, ...]:
        """Those of the stores that are known here, which are thereby in use.

        Raises NotFound (404) for one that the team may not use, InvalidRequest (400) for one that has expired, and
        NotPermitted (403) for a key that may not take the path.
        """
        found = []
        for identity in ids:
            store = await self.find(identity, principal, counted=False)
            if store is None:
                continue
            if store.is_expired(self.clock.wall()):
                raise expired(identity)
            await self.used(store)
            found.append(identity)
        if found:
            require_path(principal)
        return tuple(found)

    def require_own(self, store: VectorStore) -> None:
        """Raises InvalidRequest (400) for a store that cannot be changed: of knowledge.yaml, or expired."""
        if not store.team:
            raise InvalidRequest(
                f"{store.id!r} is a collection of policies/knowledge.yaml: its documents come from its sources.",
                param="vector_store_id",
            )
        if store.is_expired(self.clock.wall()):
            raise expired(store.id)

    async def create(self, inbound: Inbound, principal: Principal) -> Json:
        """Makes a store, with files in it when the body names some."""
        body = body_of(inbound, _new)
        chunking = chunking_of(body.chunking_strategy)
        metadata = metadata_of(body.metadata)
        put = [FileToPut(one, (), chunking) for one in body.file_ids or ()]
        if put:
            put = bounded(put, MOST_AT_CREATION)
            await self.require_files(put, principal)
        days = None if body.expires_after is None else body.expires_after.days
        store = await self._stores.create(principal.team, body.name or "", body.description or "", metadata, days)
        if put:
            await self.put(store, put)
            store = await self._stores.find(store.id) or store
        return store_object(store, self.clock.wall())

    async def page(self, inbound: Inbound, principal: Principal) -> Json:
        """A page of the stores that the team may use."""
        asked = page_asked(query_of(inbound), most=MOST_ITEMS, otherwise=USUAL_ITEMS)
        page = await self._stores.page(principal.team, self.library.readable(principal.team), asked)
        now = self.clock.wall()
        stores = [store if store.team else await self._with_counts(store) for store in page.items]
        return listed(page, [store_object(store, now) for store in stores])

    async def change(self, store: VectorStore, inbound: Inbound) -> Json:
        """Sets name, expiry and metadata."""
        body = body_of(inbound, _changed)
        values: dict[str, object] = {}
        if body.name is not UNSET:
            values["name"] = body.name or ""
        if body.expires_after is not UNSET:
            values["expires_days"] = body.expires_after.days if isinstance(body.expires_after, ExpiresAfter) else None
        if isinstance(body.metadata, dict) or body.metadata is None:
            values["metadata"] = msgspec.json.encode(metadata_of(body.metadata)).decode()
        if values:
            await self._stores.change(store.id, **values)
            self._seen.pop(store.id, None)
        return store_object(await self._stores.find(store.id) or store, self.clock.wall())

    async def delete(self, store: VectorStore) -> Json:
        """Deletes a store with what it holds; the files themselves stay."""
        await self.library.empty(store.id)
        await self._stores.remove(store.id)
        self._seen.pop(store.id, None)
        # Once more: what was being loaded meanwhile has nobody any more who would take it out.
        await self.library.empty(store.id)
        return deleted(store.id, "vector_store.deleted")

    async def used(self, store: VectorStore) -> None:
        """Notes that a store is in use, at most once a minute."""
        now = self.clock.wall()
        if store.team and now - store.last_active_at > USED_SECONDS:
            await self._stores.used(store.id, now)

    async def put(self, store: VectorStore, files: Sequence[FileToPut], *, batch: bool = False) -> str | None:
        """Puts files into a store, to be loaded in the background; the batch's id, if one is made."""
        made = await self.inside.put(store.id, files, self.clock.wall(), batch=batch)
        self.loader.wake()
        await self.used(store)
        return made

    async def take_out(self, store: VectorStore, file_id: str) -> Json:
        """Takes a file out of a store: no search that begins after this finds it."""
        await self.loader.take_out(store.id, file_id)
        return deleted(file_id, "vector_store.file.deleted")

    async def require_files(self, put: Sequence[FileToPut], principal: Principal) -> None:
        """Raises NotFound (404) naming those of the files that the team does not have."""
        ids = tuple(one.file_id for one in put)
        known = await self._files.store.several(ids, principal.team)
        missing = [one for one in ids if one not in known]
        if missing:
            raise NotFound(f"No such File object: {', '.join(missing[:20])}", param="file_id")

    async def _with_counts(self, store: VectorStore) -> VectorStore:
        held = {status.name: status for status in await self.library.status()}.get(store.id)
        documents = held.documents if held is not None else 0
        return msgspec.structs.replace(store, counts=Counts(completed=documents))


def require_path(principal: Principal) -> None:
    """Raises NotPermitted (403) for a key that may not take the path of which files and vector stores are a part.

    A key that is bound to models may when its paths name that one: it reaches no model there but an embedder.
    """
    allowed = principal.allowed_paths
    if PATH in allowed or (not allowed and not principal.allowed_models):
        return
    told = f"may take {', '.join(allowed)}" if allowed else f"may use {', '.join(principal.allowed_models)}"
    raise NotPermitted(f"This key {told}; files and vector stores need {PATH!r} among its paths.")


def require_files(principal: Principal) -> None:
    """Raises NotPermitted (403) for a key that may neither have documents searched nor models tuned."""
    if "fine_tuned" in principal.allowed_paths or "passthrough" in principal.allowed_paths:
        return
    require_path(principal)


def no_store(identity: str) -> NotFound:
    """A store that does not exist, or not for this team: the two look alike."""
    return NotFound(f"No vector store found with id {identity!r}.", param="vector_store_id")


def expired(identity: str) -> InvalidRequest:
    """A store that nobody used for too long."""
    return InvalidRequest(f"Vector store {identity!r} has expired.", param="vector_store_id")
