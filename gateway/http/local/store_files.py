"""/v1/vector_stores/{id}/files and /file_batches: what is in a vector store."""

from typing import get_args

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.errors import InvalidRequest, NotFound
from gateway.http.local.documents import Documents, no_file
from gateway.http.local.reading import attributes_of, body_of, page_asked, query_of
from gateway.http.local.replies import Json, batch_object, listed, store_file_object
from gateway.http.local.vector_stores import MOST_ITEMS, USUAL_ITEMS, Stores
from gateway.http.local.written import ChangedFile, NewBatch, NewFile, batch_of, file_of
from gateway.knowledge.vector_stores.values import FileBatch, Status, StoreFile, VectorStore

_new_file = msgspec.json.Decoder(NewFile)
_changed_file = msgspec.json.Decoder(ChangedFile)
_new_batch = msgspec.json.Decoder(NewBatch)
_STATUSES: dict[str, Status] = {status: status for status in get_args(Status)}


class FilesInside:
    """Answers for the files of a store that was found."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._inside = stores.inside
        self._documents = Documents(stores.library)

    async def put(self, store: VectorStore, inbound: Inbound, principal: Principal) -> Json:
        """Puts a file in."""
        wanted = file_of(body_of(inbound, _new_file))
        await self._stores.require_files([wanted], principal)
        await self._stores.put(store, [wanted])
        return store_file_object(await self.file(store, wanted.file_id))

    async def page(
        self, store: VectorStore, inbound: Inbound, principal: Principal, batch_id: str | None = None
    ) -> Json:
        """A page of a store's files, or of a batch's, of one status or of all."""
        query = query_of(inbound)
        asked = page_asked(query, most=MOST_ITEMS, otherwise=USUAL_ITEMS)
        status = None
        if query.get("filter"):
            status = _STATUSES.get(query["filter"])
            if status is None:
                raise InvalidRequest(f"filter must be one of {', '.join(_STATUSES)}.", param="filter")
        if store.team:
            page = await self._inside.files(store.id, asked, status, batch_id)
        else:
            page = await self._documents.page(store, principal.team, asked, status)
        return listed(page, [store_file_object(file) for file in page.items])

    async def told(self, store: VectorStore, file_id: str, principal: Principal) -> Json:
        """A file of a store, or a document of a collection. Raises NotFound (404)."""
        own = self.file(store, file_id) if store.team else self._documents.file(store, principal.team, file_id)
        return store_file_object(await own)

    async def file(self, store: VectorStore, file_id: str) -> StoreFile:
        """A file of a store. Raises NotFound (404)."""
        found = await self._inside.file(store.id, file_id)
        if found is None:
            raise no_file(store, file_id)
        return found

    async def change(self, store: VectorStore, file_id: str, inbound: Inbound) -> Json:
        """Gives a file other attributes; searches filter by them when this returns."""
        file = await self.file(store, file_id)
        attributes = attributes_of(body_of(inbound, _changed_file).attributes)
        file = msgspec.structs.replace(file, attributes=attributes)
        await self._inside.set_attributes(file, msgspec.json.encode(dict(attributes)).decode())
        if file.status == "completed":
            await self._stores.loader.renew(file)
        self._stores.loader.wake()
        return store_file_object(file)

    async def put_batch(self, store: VectorStore, inbound: Inbound, principal: Principal) -> Json:
        """Puts several files in at once."""
        wanted = batch_of(body_of(inbound, _new_batch))
        await self._stores.require_files(wanted, principal)
        made = await self._stores.put(store, wanted, batch=True)
        return batch_object(await self.batch(store, made or ""))

    async def content(self, store: VectorStore, file_id: str, principal: Principal) -> Json:
        """A file's text as it was read. Raises NotFound (404), UnreadableDocument (400) for one that cannot be."""
        if store.team:
            text = (await self._stores.loader.document(await self.file(store, file_id))).text
        else:
            text = await self._documents.text(store, principal.team, file_id)
        content = [{"type": "text", "text": text}]
        return {"object": "vector_store.file_content.page", "data": content, "has_more": False, "next_page": None}

    async def batch_told(self, store: VectorStore, batch_id: str) -> Json:
        """A batch as it is told of. Raises NotFound (404)."""
        return batch_object(await self.batch(store, batch_id))

    async def batch(self, store: VectorStore, batch_id: str) -> FileBatch:
        """A batch of a store. Raises NotFound (404)."""
        found = await self._inside.batch(store.id, batch_id)
        if found is None:
            raise NotFound(f"No file batch found with id {batch_id!r}.", param="batch_id")
        return found

    async def cancel(self, store: VectorStore, batch_id: str) -> Json:
        """Stops a batch; what is loaded stays. One that has ended stays as it is."""
        batch = await self.batch(store, batch_id)
        if batch.status == "in_progress":
            await self._inside.cancel(batch.id, self._stores.clock.wall())
        return batch_object(await self.batch(store, batch_id))
