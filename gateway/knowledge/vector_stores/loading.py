"""Loads files into vector stores in the background: claimed, read, cut, searchable, embedded, completed."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, NotFound, UnreadableDocument
from gateway.core.stored_file import StoredFile
from gateway.knowledge.document import Document, read_file, write_document
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings
from gateway.knowledge.vector_stores.loads.store import StoreFiles
from gateway.knowledge.vector_stores.store import VectorStores
from gateway.knowledge.vector_stores.values import FILES, StoreFile, VectorStore

FILES_AT_ONCE = 32
HOLD_SECONDS = 10.0
AGAIN_SECONDS = 5.0
# Whoever puts a file in wakes the loader of its own process; this is for what a dead process left.
LOOK_SECONDS = 5.0
SWEEP_SECONDS = 60.0
MOST_TRIES = 5

log = logging.getLogger("gateway.knowledge")

Find = Callable[[str], Awaitable[StoredFile | None]]
Read = Callable[[StoredFile], Awaitable[bytes]]
SettingsOf = Callable[[VectorStore], CollectionSettings]


class Loader:
    """One per process. find, read: a file's description and bytes. settings_of: how a vector store is searched.

    A file is completed when its words and, where the vector store has an embedder that answers, its vectors are
    there; its words answer before that.
    """

    def __init__(
        self,
        library: Library,
        stores: VectorStores,
        files: StoreFiles,
        find: Find,
        read: Read,
        settings_of: SettingsOf,
        clock: Clock,
    ) -> None:
        self._library = library
        self._stores = stores
        self._files = files
        self._find = find
        self._read = read
        self._settings_of = settings_of
        self._clock = clock
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is something to load."""
        self._woken.set()

    async def run(self) -> None:
        """Loads for ever."""
        while True:
            self._woken.clear()
            claimed = await self._files.claim(self._clock.wall(), HOLD_SECONDS, FILES_AT_ONCE)
            if claimed:
                await self._load(claimed)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)

    async def sweep(self) -> None:
        """Empties vector stores that have expired, for ever."""
        while True:
            now = self._clock.wall()
            for identity in await self._stores.stale(now):
                await self._library.empty(identity)
                await self._stores.swept(identity, now)
            await asyncio.sleep(SWEEP_SECONDS)

    async def renew(self, file: StoreFile) -> None:
        """Puts a file's document in again, under the attributes that `file` has. Raises NotFound, GatewayError."""
        await self._library.put(file.vector_store_id, FILES, [(await self.document(file), file.chunking)])

    async def document(self, file: StoreFile) -> Document:
        """A file as it is read. Raises NotFound (404) when it is gone, GatewayError when it cannot be had now."""
        stored = await self._find(file.file_id)
        if stored is None:
            raise NotFound(f"File {file.file_id!r} does not exist any more.")
        content = await self._read(stored)
        return await asyncio.to_thread(_document, stored, content, file)

    async def _load(self, claimed: list[StoreFile]) -> None:
        """Words of all first, then the vectors: an embedder is asked for many chunks at once."""
        keeping = asyncio.create_task(self._keep(claimed))
        by_store: dict[str, list[StoreFile]] = {}
        for file in claimed:
            by_store.setdefault(file.vector_store_id, []).append(file)
        try:
            for identity, files in by_store.items():
                store = await self._stores.find(identity, counted=False)
                if store is not None:
                    self._library.know(self._settings_of(store))
                    await self._into(identity, files)
        finally:
            keeping.cancel()

    async def _into(self, identity: str, files: list[StoreFile]) -> None:
        read = [(file, document) for file in files if (document := await self._read_one(file)) is not None]
        try:
            used = await self._library.put(identity, FILES, [(document, file.chunking) for file, document in read])
        except GatewayError as fault:
            for file, _ in read:
                await self._not_now(file, fault)
            return
        loaded = [(file, size) for (file, _), size in zip(read, used, strict=True)]
        await self._finish(loaded, await self._library.embed(identity))

    async def _finish(self, loaded: list[tuple[StoreFile, int]], faults: tuple[str, ...]) -> None:
        for fault in faults:
            log.warning("vectors_wait", extra={"fields": {"fault": fault}})
        waiting = [file for file, _ in loaded if faults and file.tries < MOST_TRIES]
        for file in waiting:
            await self._files.later(file, self._clock.wall() + AGAIN_SECONDS * file.tries)
        ended = [(file, used) for file, used in loaded if file not in waiting]
        for file in await self._files.loaded(ended):
            await self._undo(file)

    async def _keep(self, claimed: list[StoreFile]) -> None:
        """Holds what is being loaded for as long as this process lives; a dead one's is claimed soon."""
        while True:
            await asyncio.sleep(HOLD_SECONDS / 3)
            for file in claimed:
                await self._files.later(file, self._clock.wall() + HOLD_SECONDS)

    async def _read_one(self, file: StoreFile) -> Document | None:
        """A file's document; None when it cannot be loaded, which is noted."""
        try:
            return await self.document(file)
        except NotFound as gone:
            await self._files.failed(file, "invalid_file", gone.message)
        except UnreadableDocument as bad:
            await self._files.failed(file, bad.code, bad.message)
        except GatewayError as fault:
            await self._not_now(file, fault)
        return None

    async def _not_now(self, file: StoreFile, fault: GatewayError) -> None:
        if file.tries >= MOST_TRIES:
            await self._files.failed(file, "server_error", fault.message)
        else:
            await self._files.later(file, self._clock.wall() + AGAIN_SECONDS * file.tries)

    async def _undo(self, file: StoreFile) -> None:
        """What was taken out, or its batch cancelled, while it was being loaded must not be found.

        What was put in anew meanwhile stays; and if that was loaded in the very moment of the removal, it is again.
        """
        if await self._is_wanted(file):
            return
        await self._library.remove(file.vector_store_id, FILES, file.file_id)
        if await self._is_wanted(file):
            await self._files.again(file.vector_store_id, file.file_id)
            self.wake()

    async def _is_wanted(self, file: StoreFile) -> bool:
        now = await self._files.file(file.vector_store_id, file.file_id)
        return now is not None and now.status != "cancelled" and now.made != file.made


def _document(stored: StoredFile, content: bytes, file: StoreFile) -> Document:
    read = read_file(stored.id, content, name=stored.filename)
    return write_document(stored.id, read.title, read.text, attributes=file.attributes, filename=stored.filename)
