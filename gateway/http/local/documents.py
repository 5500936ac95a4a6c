"""Documents of knowledge.yaml's collections, told of as files of a vector store."""

from gateway.core.errors import NotFound
from gateway.core.page import Page, PageAsked
from gateway.knowledge.library import Library
from gateway.knowledge.stores import Kept, Listing
from gateway.knowledge.vector_stores.values import Status, StoreFile, VectorStore


class Documents:
    """What the library holds, as a team may see it. Documents have no time of their own: the collection's counts."""

    def __init__(self, library: Library) -> None:
        self._library = library

    async def page(
        self, store: VectorStore, team: str, asked: PageAsked, status: Status | None = None
    ) -> Page[StoreFile]:
        """A page in the order of ids. What is there is completed."""
        if status not in {None, "completed"}:
            return Page((), has_more=False)
        backwards = asked.after is None and asked.before is not None
        cursor = asked.before if backwards else asked.after
        descends = (asked.order == "desc") != backwards
        found = await self._library.listed(Listing(store.id, team, asked.limit + 1, descends, cursor))
        items = [_file(store, kept) for kept in found[: asked.limit]]
        return Page(tuple(items[::-1] if backwards else items), len(found) > asked.limit)

    async def file(self, store: VectorStore, team: str, document: str) -> StoreFile:
        """One document. Raises NotFound (404)."""
        found = await self._library.listed(Listing(store.id, team, 1, document=document))
        if not found:
            raise no_file(store, document)
        return _file(store, found[0])

    async def text(self, store: VectorStore, team: str, document: str) -> str:
        """A document's text. Raises NotFound (404)."""
        texts = await self._library.texts(store.id, team, document)
        if not texts:
            raise no_file(store, document)
        return "\n\n".join(texts)


def no_file(store: VectorStore, file_id: str) -> NotFound:
    """A file that is not in a store, or not for this team: the two look alike."""
    return NotFound(f"No file found with id {file_id!r} in vector store {store.id!r}.", param="file_id")


def _file(store: VectorStore, kept: Kept) -> StoreFile:
    return StoreFile(
        vector_store_id=store.id,
        file_id=kept.document,
        created_at=store.created_at,
        status="completed",
        usage_bytes=kept.size,
        error=None,
        attributes=kept.attributes,
        chunking=None,
        batch_id=None,
        made="",
    )
