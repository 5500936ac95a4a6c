"""The solutions of Freshdesk: published articles in their folders."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import msgspec

from gateway.knowledge.connectors import Change, Fault, Kind
from gateway.knowledge.document import Document, read_html, write_document
from gateway.knowledge.remote.fetch import GONE, Fetcher, basic, found_secret
from gateway.knowledge.remote.listing import Found, Page, walk
from gateway.knowledge.remote.shapes import Restricted, Shape, attributes_of, decoded, decoded_list, fetching
from gateway.knowledge.settings import RemoteSettings

PAGE_SIZE = 100
MOST_PAGES = 300
PUBLISHED = 2
# Who may see a folder: 1 is everybody. 2 signed-in users, 3 agents, 4 and up chosen companies or segments.
EVERYBODY = 1


class FreshdeskSettings(RemoteSettings, frozen=True, kw_only=True):
    """token: the reference of an agent's API key."""

    token: str | None = None


class _Category(msgspec.Struct):
    id: int
    name: str | None = None


class _Folder(msgspec.Struct):
    id: int
    name: str | None = None
    visibility: int | None = None
    sub_folders_count: int = 0


class _Article(msgspec.Struct):
    id: int
    updated_at: str = ""
    title: str | None = None
    description: str | None = None
    description_text: str | None = None
    status: int | None = None
    folder_id: int | None = None
    tags: list[str] = []


class FreshdeskConnector:
    """Ids are article ids. An article in a folder that not everybody may see is restricted.

    The lists have no order by time, so that each pass is a whole one; it takes a request for each folder.
    """

    def __init__(self, settings: FreshdeskSettings, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall

    def _headers(self) -> dict[str, str]:
        return basic(found_secret(self._settings.token, "token"), "X")

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        async for change in fetching(
            self._settings,
            self._headers,
            lambda fetcher: walk(_Listing(self._settings, fetcher), self._settings.fingerprint, cursor, self._wall),
        ):
            yield change


class _Listing:
    """A page token is `folder/page`; folders go by their ids, so that a token still means something tomorrow."""

    is_dear = False
    has_newest = False

    def __init__(self, settings: FreshdeskSettings, fetcher: Fetcher) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._restricted = Restricted(settings.restricted)
        self._folders: dict[int, _Folder] | None = None

    async def page(self, token: str | None, *, newest_first: bool) -> Page:  # noqa: ARG002 - has_newest is False
        if self._folders is None:
            self._folders = await self._all_folders()
        order = sorted(self._folders)
        place, _, number = (token or f"{order[0] if order else 0}/1").partition("/")
        folder = self._folders.get(int(place))
        if folder is None:
            following = next((other for other in order if other > int(place)), None)
            return Page((), None if following is None else f"{following}/1")
        articles = await self._part(f"solutions/folders/{folder.id}/articles", int(number), _Article)
        found = tuple(self._found(article, folder) for article in articles)
        if len(articles) >= PAGE_SIZE and int(number) < MOST_PAGES:
            return Page(found, f"{folder.id}/{int(number) + 1}")
        following = next((other for other in order if other > folder.id), None)
        return Page(found, None if following is None else f"{following}/1")

    async def find(self, identity: str) -> Found | None:
        reply = await self._fetcher.get(f"api/v2/solutions/articles/{identity}", taken=GONE)
        article = None if reply.status in GONE else decoded(reply, _Article)
        folder = None if article is None else (self._folders or {}).get(article.folder_id or 0)
        return None if article is None or folder is None else self._found(article, folder)

    def remarks(self) -> tuple[str, ...]:
        return self._restricted.remarks(self._settings.key)

    async def _all_folders(self) -> dict[int, _Folder]:
        folders: dict[int, _Folder] = {}
        for category in await self._all("solutions/categories", _Category):
            waiting = [f"solutions/categories/{category.id}/folders"]
            while waiting:
                for folder in await self._all(waiting.pop(), _Folder):
                    if folder.id not in folders and folder.sub_folders_count:
                        waiting.append(f"solutions/folders/{folder.id}/subfolders")
                    folders[folder.id] = folder
        return folders

    async def _all(self, path: str, shape: type[Shape]) -> list[Shape]:
        found: list[Shape] = []
        for number in range(1, MOST_PAGES + 1):
            part = await self._part(path, number, shape)
            found += part
            if len(part) < PAGE_SIZE:
                break
        return found

    async def _part(self, path: str, number: int, shape: type[Shape]) -> list[Shape]:
        query = [("per_page", str(PAGE_SIZE)), ("page", str(number))]
        return decoded_list(await self._fetcher.get(f"api/v2/{path}", query), shape)

    def _found(self, article: _Article, folder: _Folder) -> Found:
        async def read() -> Document | Fault | None:
            return await self._document(article, folder)

        return Found(str(article.id), article.updated_at, read)

    async def _document(self, article: _Article, folder: _Folder) -> Document | None:
        body = article.description or article.description_text or ""
        if article.status != PUBLISHED or not body.strip():
            return None
        # A visibility that is not told is not known to be everybody's.
        is_restricted = folder.visibility != EVERYBODY
        if is_restricted and not self._restricted.takes(str(article.id)):
            return None
        url = f"{self._settings.path}/support/solutions/articles/{article.id}"
        page = await asyncio.to_thread(read_html, str(article.id), body, url)
        told = attributes_of(
            source="freshdesk",
            updated_at=article.updated_at,
            section=folder.name,
            labels=", ".join(sorted(article.tags)),
        )
        readers = self._restricted.readers if is_restricted else None
        return write_document(page.id, article.title or page.title, page.text, url, attributes=told, readers=readers)


CONNECTOR = Kind(FreshdeskSettings, FreshdeskConnector)
