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
SWEEP_SECONDS = 10.0
# Of documents that are written together.
CHARACTERS_AT_ONCE = 4_000_000
MOST_TRIES = 5
LET_GO_SECONDS = 0.02

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
        # By vector store: what waits for vectors, what is getting them, and the task that gives them.
        self._waiting: dict[str, list[tuple[StoreFile, int]]] = {}
        self._at_vectors: dict[str, list[tuple[StoreFile, int]]] = {}
        self._embedding: dict[str, asyncio.Task[None]] = {}
        self._held: set[tuple[str, str, str]] = set()

    def wake(self) -> None:
        """There is something to load."""
        self._woken.set()

    async def run(self) -> None:
        """Loads for ever: words of what was put in first, vectors store by store beside them."""
        keeping = asyncio.create_task(self._keep())
        try:
            while True:
                self._woken.clear()
                claimed = await self._files.claim(self._clock.wall(), HOLD_SECONDS, FILES_AT_ONCE)
                if claimed:
                    await self._load(claimed)
                    continue
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`: before Python 3.12 it can swallow a cancellation in the moment of waking.
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._woken.wait()
        finally:
            ending = [keeping, *self._embedding.values()]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            self._embedding.clear()
            self._waiting.clear()
            self._held.clear()

    async def sweep(self) -> None:
        """Empties vector stores that have expired and takes out again what was taken out lately, for ever.

        The second is for a process that died between saying that a file is out and taking its words away, however
        long ago that was.
        """
        since = 0.0
        while True:
            now = self._clock.wall()
            for identity in await self._stores.stale(now):
                await self._library.empty(identity)
                await self._stores.swept(identity, now)
            for identity, file_id in await self._files.taken_out(since):
                await self._library.remove(identity, FILES, file_id)
            since = now - 3 * SWEEP_SECONDS
            await asyncio.sleep(SWEEP_SECONDS)

    async def embed_anew(self, embedder: Callable[[], str | None]) -> None:
        """Gives every vector store the vectors of another embedder when the settings name one, for ever."""
        done: str | None = None
        while True:
            wanted = embedder()
            if wanted is not None and wanted != done:
                faults: list[str] = []
                for store in await self._stores.all():
                    self._library.know(self._settings_of(store))
                    faults += await self._library.embed(store.id)
                for fault in faults[:1]:
                    log.warning("vectors_wait", extra={"fields": {"fault": fault, "more": len(faults) - 1}})
                # Not until all have theirs; what failed is asked for again.
                done = done if faults else wanted
            elif wanted is None:
                done = None
            await asyncio.sleep(LOOK_SECONDS)

    async def take_out(self, identity: str, file_id: str) -> None:
        """Takes a file out of a vector store: no search that begins after this finds it.

        Said first, done after: whoever is loading it sees that, and is waited for. A loader that died is not.
        """
        await self._files.take_out(identity, file_id, self._clock.wall())
        await self._library.remove(identity, FILES, file_id)
        for _ in range(int(HOLD_SECONDS / LET_GO_SECONDS)):
            if not await self._files.is_held(identity, file_id, self._clock.wall()):
                break
            await asyncio.sleep(LET_GO_SECONDS)
        await self._library.remove(identity, FILES, file_id)

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
        self._held.update((file.vector_store_id, file.file_id, file.made) for file in claimed)
        by_store: dict[str, list[StoreFile]] = {}
        for file in claimed:
            by_store.setdefault(file.vector_store_id, []).append(file)
        for identity, files in by_store.items():
            store = await self._stores.find(identity, counted=False)
            if store is not None:
                self._library.know(self._settings_of(store))
                await self._words(identity, files)
            self._let_go([file for file in files if file not in self._in_hand(identity)])

    async def _words(self, identity: str, files: list[StoreFile]) -> None:
        """Makes files' words searchable, some megabytes at once, and has their vectors made."""
        group: list[tuple[StoreFile, Document]] = []
        for file in files:
            document = await self._read_one(file)
            if document is not None:
                group.append((file, document))
            if file is files[-1] or sum(len(one.text) for _, one in group) > CHARACTERS_AT_ONCE:
                await self._put(identity, group)
                group = []

    async def _put(self, identity: str, group: list[tuple[StoreFile, Document]]) -> None:
        try:
            used = await self._library.put(identity, FILES, [(one, file.chunking) for file, one in group])
        except GatewayError as fault:
            for file, _ in group:
                await self._not_now(file, fault)
            return
        # What was taken out while it was read must not be found until its vectors are there.
        lost = await self._files.lost([file for file, _ in group])
        for file in lost:
            await self._undo(file)
        waiting = self._waiting.setdefault(identity, [])
        waiting += [(file, size) for (file, _), size in zip(group, used, strict=True) if file not in lost]
        if waiting and identity not in self._embedding:
            # Apart from the words: a slow embedder of one store must not hold up the files of others.
            self._embedding[identity] = asyncio.create_task(self._vectors(identity))

    async def _vectors(self, identity: str) -> None:
        """Gives vectors to what waits for them in a store, until nothing does."""
        try:
            while loaded := self._waiting.pop(identity, []):
                self._at_vectors[identity] = loaded
                await self._finish(loaded, await self._library.embed(identity))
                self._let_go([file for file, _ in loaded])
        except GatewayError as fault:
            log.warning("vectors_wait", extra={"fields": {"vector_store": identity, "fault": fault.message}})
            self._let_go([file for file, _ in (*self._at_vectors[identity], *self._waiting.pop(identity, []))])
        finally:
            self._at_vectors.pop(identity, None)
            del self._embedding[identity]

    def _in_hand(self, identity: str) -> list[StoreFile]:
        """Files of a store that wait for their vectors, or are getting them."""
        return [file for file, _ in (*self._waiting.get(identity, ()), *self._at_vectors.get(identity, ()))]

    def _let_go(self, files: list[StoreFile]) -> None:
        """Keeps them no longer: they ended, or another claims them when their time is over."""
        self._held.difference_update((file.vector_store_id, file.file_id, file.made) for file in files)

    async def _finish(self, loaded: list[tuple[StoreFile, int]], faults: tuple[str, ...]) -> None:
        for fault in faults:
            log.warning("vectors_wait", extra={"fields": {"fault": fault}})
        waiting = [file for file, _ in loaded if faults and file.tries < MOST_TRIES]
        for file in waiting:
            await self._files.later(file, self._clock.wall() + AGAIN_SECONDS * file.tries)
        ended = [(file, used) for file, used in loaded if file not in waiting]
        for file in await self._files.loaded(ended):
            await self._undo(file)

    async def _keep(self) -> None:
        """Holds what is being loaded for as long as this process lives; a dead one's is claimed soon."""
        while True:
            await asyncio.sleep(HOLD_SECONDS / 3)
            with contextlib.suppress(GatewayError):
                await self._files.hold(list(self._held), self._clock.wall() + HOLD_SECONDS)

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
        await self._files.let_go(file)
        if await self._is_wanted(file):
            await self._files.again(file.vector_store_id, file.file_id)
            self.wake()

    async def _is_wanted(self, file: StoreFile) -> bool:
        now = await self._files.file(file.vector_store_id, file.file_id)
        return now is not None and now.status != "cancelled" and now.made != file.made


def _document(stored: StoredFile, content: bytes, file: StoreFile) -> Document:
    read = read_file(stored.id, content, name=stored.filename)
    return write_document(stored.id, read.title, read.text, attributes=file.attributes, filename=stored.filename)
