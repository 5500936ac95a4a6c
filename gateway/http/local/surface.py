"""Which request of the local surface is whose, and answering it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from gateway.core.call import Headers, Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import InvalidRequest, MethodNotAllowed, RouteNotFound
from gateway.core.stored_file import StoredFile
from gateway.db.away import told_when_away
from gateway.http.local.files import Files, no_file
from gateway.http.local.fine_tuning import FineTuning, require_tuning
from gateway.http.local.reading import texts_in
from gateway.http.local.replies import Json, file_object, store_object
from gateway.http.local.search import Search
from gateway.http.local.store_files import FilesInside
from gateway.http.local.uploads import UploadParts
from gateway.http.local.vector_stores import Stores, require_files, require_path
from gateway.identity.keys import KeyRing
from gateway.knowledge.vector_stores.values import VectorStore
from gateway.relay import Caller

# Requests below these are looked at here first.
PREFIXES = (
    "/v1/files",
    "/v1/vector_stores",
    "/v1/uploads",
    "/v1/fine_tuning",
    "/v1/models/ft:",
    "/v1/evals",
    "/v1/feedback",
    "/v1/batches",
)
FIRST = frozenset({"files", "vector_stores", "uploads", "fine_tuning", "models"})
KEPT = "files, jobs, batches, evals and vector stores"
# The official SDK's `..._and_poll` helpers wait so long, and a second without being told; most files take less.
POLL_AFTER = (b"openai-poll-after-ms", b"100")
METHODS = frozenset({"GET", "POST", "DELETE"})
# What answers for the rest of a path below its first part: the reply, or None for what is not ours.
Also = Callable[[list[str], Inbound, Principal], Awaitable[Json | None]]


class Local:
    """Answers what is ours, and says of the rest that it is not.

    An id that is not known here may be a provider's: the request is then passed on as any other. What belongs to
    another team does not exist, here or there.
    """

    def __init__(
        self,
        keys: KeyRing,
        clock: Clock,
        files: Files,
        stores: Stores,
        search: Search,
        uploads: UploadParts,
        fine_tuning: FineTuning,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._files = files
        self._stores = stores
        self._inside = FilesInside(stores)
        self._search = search
        self._uploads = uploads
        self._fine_tuning = fine_tuning
        # By the first part of their paths; who builds the process puts them in.
        self.also: dict[str, Also] = {}

    async def serve(self, inbound: Inbound, caller: Caller) -> bool:
        """Answers through `caller`; False for what is not ours. Raises GatewayError for what the caller is told."""
        first, *rest = inbound.path.removeprefix("/v1/").split("/")
        # Graders stand below the jobs' path and are no jobs.
        also = self.also.get("graders" if (first, rest[:1]) == ("fine_tuning", ["alpha"]) else first)
        if (first not in FIRST and also is None) or "" in rest or not inbound.raw_path.startswith(b"/v1/"):
            return False
        principal = self._keys.principal(inbound, self._clock.wall())
        if "\0" in inbound.path or b"%00" in inbound.query:
            raise InvalidRequest("An address has no NUL in it; nothing here is named so.")
        if inbound.method not in METHODS:
            raise MethodNotAllowed(f"{inbound.method} is not supported on {inbound.path}.")
        if also is not None:
            with told_when_away(KEPT):
                told = await also(rest, inbound, principal)
            return told is not None and await _whole(caller, inbound, told)
        with told_when_away(KEPT):
            return await self._answered(first, rest, inbound, principal, caller)

    async def _answered(
        self, first: str, rest: list[str], inbound: Inbound, principal: Principal, caller: Caller
    ) -> bool:
        told: Json | None
        if first == "models":
            told = await self._of_model("/".join(rest), inbound, principal)
        elif first == "fine_tuning":
            told = await self._fine_tuning.answer(rest, inbound, principal)
        elif first == "uploads":
            require_files(principal)
            told = await self._uploads.answer(rest, inbound, principal)
        elif first == "files":
            require_files(principal)
            return await self._serve_files(rest, inbound, principal, caller)
        else:
            require_path(principal)
            told = await self._of_stores(rest, inbound, principal)
        return told is not None and await _whole(caller, inbound, told)

    async def _of_model(self, name: str, inbound: Inbound, principal: Principal) -> Json | None:
        if inbound.method != "DELETE":
            return None
        require_tuning(principal)
        return await self._fine_tuning.delete_model(name, principal)

    async def _serve_files(self, rest: list[str], inbound: Inbound, principal: Principal, caller: Caller) -> bool:
        told: Json | None
        match (inbound.method, *rest):
            case ("POST",):
                told = await self._files.upload(inbound, principal)
            case ("GET",):
                told = await self._files.page(inbound, principal)
            case (method, identity, *_):
                file = await self._files.find(identity, principal)
                if file is None:
                    return False
                if (method, *rest[1:]) == ("GET", "content"):
                    await self._content(file, inbound, caller)
                    return True
                told = await self._of_file(file, inbound, rest[1:])
            case _:
                raise _unknown(inbound)
        return told is not None and await _whole(caller, inbound, told)

    async def _of_file(self, file: StoredFile, inbound: Inbound, rest: list[str]) -> Json:
        match (inbound.method, *rest):
            case ("GET",):
                return file_object(file)
            case ("DELETE",):
                return await self._files.delete(file, self._stores.loader.take_out)
            case _:
                raise _unknown(inbound)

    async def _content(self, file: StoredFile, inbound: Inbound, caller: Caller) -> None:
        parts: AsyncIterator[bytes] = self._files.store.parts(file.id)
        first = await anext(parts, None)
        if first is None:
            raise no_file(file.id)
        length = (b"content-length", b"%d" % file.size)
        headers = ((b"content-type", b"application/octet-stream"), length, _request_id(inbound))
        await caller.start(200, headers)
        await caller.write(first)
        async for part in parts:
            await caller.write(part)
        await caller.end()

    async def _of_stores(self, rest: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        if not rest and inbound.method == "DELETE":
            raise _unknown(inbound)
        if not rest:
            made = self._stores.create if inbound.method == "POST" else self._stores.page
            return await made(inbound, principal)
        # Counting looks at every file of a store; only what tells of the store itself needs that.
        store = await self._stores.find(rest[0], principal, counted=len(rest) == 1)
        if store is None:
            # A provider's: what is put into it must not be another team's there.
            await self._files.require_open(texts_in(inbound.body), principal)
            return None
        match (inbound.method, *rest[1:]):
            case ("GET", *_):
                return await self._read(store, inbound, rest[1:], principal)
            case ("POST", "search"):
                return await self._search.run(store, inbound, principal)
        self._stores.require_own(store)
        return await self._change(store, inbound, rest[1:], principal)

    async def _read(self, store: VectorStore, inbound: Inbound, rest: list[str], principal: Principal) -> Json:
        match rest:
            case []:
                return store_object(store, self._clock.wall())
            case ["files"]:
                return await self._inside.page(store, inbound, principal)
            case ["files", file_id]:
                return await self._inside.told(store, file_id, principal)
            case ["files", file_id, "content"]:
                return await self._inside.content(store, file_id, principal)
            case ["file_batches", batch_id]:
                return await self._inside.batch_told(store, batch_id)
            case ["file_batches", batch_id, "files"]:
                await self._inside.batch(store, batch_id)
                return await self._inside.page(store, inbound, principal, batch_id)
            case _:
                raise _unknown(inbound)

    async def _change(self, store: VectorStore, inbound: Inbound, rest: list[str], principal: Principal) -> Json:
        if inbound.method == "DELETE":
            return await self._delete(store, inbound, rest)
        match rest:
            case []:
                return await self._stores.change(store, inbound)
            case ["files"]:
                return await self._inside.put(store, inbound, principal)
            case ["files", file_id]:
                return await self._inside.change(store, file_id, inbound)
            case ["file_batches"]:
                return await self._inside.put_batch(store, inbound, principal)
            case ["file_batches", batch_id, "cancel"]:
                return await self._inside.cancel(store, batch_id)
        raise _unknown(inbound)

    async def _delete(self, store: VectorStore, inbound: Inbound, rest: list[str]) -> Json:
        match rest:
            case []:
                return await self._stores.delete(store)
            case ["files", file_id]:
                await self._inside.file(store, file_id)
                return await self._stores.take_out(store, file_id)
        raise _unknown(inbound)


def _unknown(inbound: Inbound) -> RouteNotFound:
    return RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")


def _request_id(inbound: Inbound) -> tuple[bytes, bytes]:
    return b"x-request-id", inbound.request_id.encode()


async def _whole(caller: Caller, inbound: Inbound, told: Json) -> bool:
    headers: Headers = ((b"content-type", b"application/json"), _request_id(inbound))
    if told.get("status") == "in_progress":
        headers = (*headers, POLL_AFTER)
    await caller.whole(200, headers, msgspec.json.encode(told))
    return True
