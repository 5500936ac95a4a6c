"""Pages of Confluence, by version 2 of its API; who may read them by version 1."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from urllib.parse import urljoin

import msgspec

from gateway.knowledge.connectors import Change, Fault, Kind
from gateway.knowledge.document import Document, write_document
from gateway.knowledge.remote.confluence_storage import read_storage
from gateway.knowledge.remote.fetch import GONE, Fetcher, basic, found_secret
from gateway.knowledge.remote.listing import Found, Page, walk
from gateway.knowledge.remote.shapes import Restricted, attributes_of, decoded, fetching
from gateway.knowledge.settings import RemoteSettings

PAGE_SIZE = 100
MOST_ANCESTORS = 50


class ConfluenceSettings(RemoteSettings, frozen=True, kw_only=True):
    """username, token: an account's e-mail address and the reference of an API token. spaces: ids, () for all."""

    spaces: tuple[str, ...] = ()
    username: str = ""
    token: str | None = None

    @property
    def key(self) -> str:
        """With the spaces: two sources may share a site."""
        return f"{self.kind}:{self.path}" + (f"#{','.join(self.spaces)}" if self.spaces else "")


class _Version(msgspec.Struct):
    number: int = 0
    created_at: str = msgspec.field(default="", name="createdAt")


class _Storage(msgspec.Struct):
    value: str = ""


class _Body(msgspec.Struct):
    storage: _Storage = msgspec.field(default_factory=_Storage)


class _PageLinks(msgspec.Struct):
    webui: str = ""


class _Page(msgspec.Struct):
    id: str
    status: str = "current"
    title: str = ""
    space_id: str = msgspec.field(default="", name="spaceId")
    parent_id: str | None = msgspec.field(default=None, name="parentId")
    parent_type: str | None = msgspec.field(default=None, name="parentType")
    version: _Version = msgspec.field(default_factory=_Version)
    body: _Body = msgspec.field(default_factory=_Body)
    links: _PageLinks = msgspec.field(default_factory=_PageLinks, name="_links")


class _Links(msgspec.Struct):
    next: str | None = None


class _Pages(msgspec.Struct):
    results: list[_Page]
    links: _Links = msgspec.field(default_factory=_Links, name="_links")


class _Names(msgspec.Struct):
    results: list[msgspec.Raw] = []


class _Readers(msgspec.Struct):
    user: _Names = msgspec.field(default_factory=_Names)
    group: _Names = msgspec.field(default_factory=_Names)


class _Restriction(msgspec.Struct):
    restrictions: _Readers = msgspec.field(default_factory=_Readers)


class ConfluenceConnector:
    """Ids are page ids. A page is restricted when it or a page above it names who may read it.

    A restriction changes no version: it is looked up for each page in each whole pass, so once an hour.
    """

    def __init__(self, settings: ConfluenceSettings, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall

    def _headers(self) -> dict[str, str]:
        return basic(self._settings.username, found_secret(self._settings.token, "token"))

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        async for change in fetching(
            self._settings,
            self._headers,
            lambda fetcher: walk(_Listing(self._settings, fetcher), self._settings.fingerprint, cursor, self._wall),
        ):
            yield change


class _Listing:
    is_dear = False
    has_newest = True

    def __init__(self, settings: ConfluenceSettings, fetcher: Fetcher) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._restricted = Restricted(settings.restricted)
        self._parents: dict[str, str | None] = {}
        self._is_closed: dict[str, bool] = {}

    async def page(self, token: str | None, *, newest_first: bool) -> Page:
        if token is None:
            order = "-modified-date" if newest_first else "modified-date"
            query = [("body-format", "storage"), ("limit", str(PAGE_SIZE)), ("sort", order), ("status", "current")]
            query += [("space-id", space) for space in self._settings.spaces]
            reply = await self._fetcher.get("wiki/api/v2/pages", query)
        else:
            reply = await self._fetcher.get(urljoin(f"{self._settings.path}/", token))
        found = decoded(reply, _Pages)
        for page in found.results:
            self._parents[page.id] = page.parent_id if page.parent_type in {None, "page"} else None
        return Page(tuple(map(self._found, found.results)), found.links.next)

    async def find(self, identity: str) -> Found | None:
        query = [("body-format", "storage")]
        reply = await self._fetcher.get(f"wiki/api/v2/pages/{identity}", query, taken=GONE)
        page = None if reply.status in GONE else decoded(reply, _Page)
        spaces = self._settings.spaces
        return None if page is None or (spaces and page.space_id not in spaces) else self._found(page)

    def remarks(self) -> tuple[str, ...]:
        return self._restricted.remarks(self._settings.key)

    def _found(self, page: _Page) -> Found:
        async def read() -> Document | Fault | None:
            return await self._document(page)

        return Found(page.id, page.version.created_at, read)

    async def _document(self, page: _Page) -> Document | None:
        body = page.body.storage.value
        if page.status != "current" or not body.strip():
            return None
        is_restricted = await self._is_restricted(page.id)
        if is_restricted and not self._restricted.takes(page.id):
            return None
        text = await asyncio.to_thread(read_storage, page.id, body)
        if not text.strip():
            return None
        url = f"{self._settings.path}/wiki{page.links.webui}" if page.links.webui else None
        told = attributes_of(
            source="confluence", updated_at=page.version.created_at, section=page.space_id, version=page.version.number
        )
        readers = self._restricted.readers if is_restricted else None
        return write_document(page.id, page.title, text, url, attributes=told, readers=readers)

    async def _is_restricted(self, identity: str) -> bool:
        """Whether the page or one above it names its readers. What cannot be looked up counts as restricted."""
        place: str | None = identity
        for _ in range(MOST_ANCESTORS):
            if place is None:
                return False
            if place not in self._is_closed:
                self._is_closed[place] = await self._names_readers(place)
            if self._is_closed[place]:
                return True
            if place not in self._parents:
                self._parents[place] = await self._parent(place)
            place = self._parents[place]
        return True

    async def _names_readers(self, identity: str) -> bool:
        path = f"wiki/rest/api/content/{identity}/restriction/byOperation/read"
        query = [("expand", "restrictions.user,restrictions.group"), ("limit", "1")]
        reply = await self._fetcher.get(path, query, taken=frozenset({403, 404}))
        if reply.status != 200:
            return True
        found = decoded(reply, _Restriction).restrictions
        return bool(found.user.results or found.group.results)

    async def _parent(self, identity: str) -> str | None:
        reply = await self._fetcher.get(f"wiki/api/v2/pages/{identity}", taken=frozenset({403, 404}))
        if reply.status != 200:
            return None  # Its readers were looked up and are nobody in particular; above it nothing can be seen.
        page = decoded(reply, _Page)
        return page.parent_id if page.parent_type in {None, "page"} else None


CONNECTOR = Kind(ConfluenceSettings, ConfluenceConnector)
