"""Pages of Notion that an integration was given."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from gateway.knowledge.connectors import Change, Fault, Kind
from gateway.knowledge.document import Document, write_document
from gateway.knowledge.remote.fetch import GONE, Fetcher, FetchFailed, found_secret
from gateway.knowledge.remote.listing import Found, Page, walk
from gateway.knowledge.remote.notion_blocks import Block, Content, RichText, markdown, words
from gateway.knowledge.remote.shapes import attributes_of, decoded, fetching
from gateway.knowledge.settings import RemoteSettings

VERSION = "2022-06-28"
PAGE_SIZE = 100
MOST_DEPTH = 20
MOST_BLOCKS = 20_000
# Its children are pages and rows of their own, or the same ones again.
_CLOSED = frozenset({"child_page", "child_database", "unsupported"})


class NotionSettings(RemoteSettings, frozen=True, kw_only=True):
    """databases: ids; only their pages are taken, () takes all. token: the reference of the integration's secret."""

    # Three a second is what an integration may ask for.
    requests_per_second: float = 3.0
    databases: tuple[str, ...] = ()
    token: str | None = None

    @property
    def key(self) -> str:
        """With the databases: all sources share one address."""
        return f"{self.kind}:{self.path}" + (f"#{','.join(self.databases)}" if self.databases else "")


class _Property(msgspec.Struct):
    type: str = ""
    title: list[RichText] = []


class _Parent(msgspec.Struct):
    database_id: str = ""


class _Page(msgspec.Struct):
    id: str
    last_edited_time: str = ""
    url: str | None = None
    archived: bool = False
    in_trash: bool = False
    properties: dict[str, _Property] = {}
    parent: _Parent = msgspec.field(default_factory=_Parent)


class _Pages(msgspec.Struct):
    results: list[_Page]
    has_more: bool = False
    next_cursor: str | None = None


class _Blocks(msgspec.Struct):
    results: list[dict[str, Any]]
    has_more: bool = False
    next_cursor: str | None = None


class NotionConnector:
    """Ids are page ids. Notion shows an integration only pages it was given; who else reads them it does not say."""

    def __init__(self, settings: NotionSettings, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall

    def _headers(self) -> dict[str, str]:
        token = found_secret(self._settings.token, "token")
        return {"authorization": f"Bearer {token}", "notion-version": VERSION}

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        async for change in fetching(
            self._settings,
            self._headers,
            lambda fetcher: walk(_Listing(self._settings, fetcher), self._settings.fingerprint, cursor, self._wall),
        ):
            yield change


class _Listing:
    """A page token is `number:cursor`; the number is the database's in the settings."""

    is_dear = True

    def __init__(self, settings: NotionSettings, fetcher: Fetcher) -> None:
        self._settings = settings
        self._fetcher = fetcher
        # Several databases are listed one after the other: the newest of all is not known.
        self.has_newest = len(settings.databases) <= 1

    async def page(self, token: str | None, *, newest_first: bool) -> Page:
        place, _, start = (token or "0:").partition(":")
        number, databases = int(place), self._settings.databases
        direction = "descending" if newest_first else "ascending"
        asked: dict[str, object] = {"page_size": PAGE_SIZE} | ({"start_cursor": start} if start else {})
        if databases:
            asked["sorts"] = [{"timestamp": "last_edited_time", "direction": direction}]
            reply = await self._fetcher.post(f"v1/databases/{databases[number]}/query", asked)
        else:
            asked["sort"] = {"timestamp": "last_edited_time", "direction": direction}
            asked["filter"] = {"property": "object", "value": "page"}
            reply = await self._fetcher.post("v1/search", asked)
        found = decoded(reply, _Pages)
        following = f"{number}:{found.next_cursor}" if found.has_more and found.next_cursor else None
        if following is None and number + 1 < len(databases):
            following = f"{number + 1}:"
        return Page(tuple(map(self._found, found.results)), following)

    async def find(self, identity: str) -> Found | None:
        # Taken from the integration, thrown away, or moved out of the databases.
        reply = await self._fetcher.get(f"v1/pages/{identity}", taken=GONE)
        page = None if reply.status in GONE else decoded(reply, _Page)
        wanted = [database.replace("-", "") for database in self._settings.databases]
        is_in = page is not None and (not wanted or page.parent.database_id.replace("-", "") in wanted)
        return self._found(page) if page is not None and is_in else None

    def remarks(self) -> tuple[str, ...]:
        return ()

    def _found(self, page: _Page) -> Found:
        async def read() -> Document | Fault | None:
            return await self._document(page)

        return Found(page.id, page.last_edited_time, read)

    async def _document(self, page: _Page) -> Document | Fault | None:
        if page.archived or page.in_trash:
            return None
        try:
            text = await asyncio.to_thread(markdown, await self._blocks(page.id, 0, [0]))
        except FetchFailed as fault:
            if fault.status == 404:  # Taken away since it was listed.
                return None
            if fault.status not in {400, 403}:
                raise
            return Fault(fault.line, page.id)
        title = next((words(one.title) for one in page.properties.values() if one.type == "title"), "")
        if not text.strip():
            return None
        told = attributes_of(source="notion", updated_at=page.last_edited_time)
        return write_document(page.id, title or page.id, text, page.url, attributes=told)

    async def _blocks(self, identity: str, depth: int, count: list[int]) -> list[Block]:
        """The blocks below one, to their depth; a page of more than twenty thousand is cut there."""
        blocks: list[Block] = []
        start: str | None = None
        while count[0] < MOST_BLOCKS:
            query = [("page_size", str(PAGE_SIZE))] + ([("start_cursor", start)] if start else [])
            found = decoded(await self._fetcher.get(f"v1/blocks/{identity}/children", query), _Blocks)
            count[0] += len(found.results)
            for raw in found.results:
                block = _read_block(raw)
                if raw.get("has_children") and block.kind not in _CLOSED and depth < MOST_DEPTH:
                    block.below = await self._blocks(str(raw.get("id")), depth + 1, count)
                blocks.append(block)
            start = found.next_cursor if found.has_more else None
            if start is None:
                break
        return blocks


def _read_block(raw: dict[str, Any]) -> Block:
    """A block holds its content under the name of its type; one in another shape holds no words."""
    kind = str(raw.get("type", ""))
    try:
        return Block(kind, msgspec.convert(raw.get(kind) or {}, Content, strict=False))
    except msgspec.ValidationError:
        return Block(kind, Content())


CONNECTOR = Kind(NotionSettings, NotionConnector)
