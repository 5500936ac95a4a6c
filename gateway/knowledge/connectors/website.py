"""A website, by its sitemap."""

import asyncio
import fnmatch
from collections.abc import AsyncIterator
from urllib.parse import urljoin, urlsplit

import msgspec

from gateway.core.errors import UnreadableDocument
from gateway.knowledge.connectors import Change, Fault, Kind, Mark, Removal, Upsert
from gateway.knowledge.document import Document, read_file, write_document
from gateway.knowledge.remote.fetch import AGENT, GONE, Fetcher, FetchFailed, Reply
from gateway.knowledge.remote.listing import MARK_SHARE
from gateway.knowledge.remote.robots import Robots, is_elsewhere
from gateway.knowledge.remote.shapes import attributes_of, fetching
from gateway.knowledge.remote.sitemap import UnreadableSitemap, canonical, read_sitemap
from gateway.knowledge.settings import RemoteSettings

MARK_EACH = 20
MOST_SITEMAPS = 200
MOST_SITEMAP_BYTES = 52 * 1024 * 1024


class WebsiteSettings(RemoteSettings, frozen=True, kw_only=True):
    """sitemap: its URL, None to look in robots.txt and at /sitemap.xml. include, exclude: globs on the path of a URL.

    pages, page_bytes: how many pages are read, and of how many bytes each.
    """

    requests_per_second: float = 5.0
    sitemap: str | None = None
    exclude: tuple[str, ...] = ()
    pages: int = 5000
    page_bytes: int = 4 * 1024 * 1024


class _Page(msgspec.Struct, array_like=True):
    """What is known of a page that was read: its lastmod in the sitemap, and what its server said of it.

    fault: why it is no document, told again by each pass until it is another page.
    """

    changed: str = ""
    etag: str = ""
    modified: str = ""
    fault: str = ""


class _Cursor(msgspec.Struct):
    settings: str = ""
    pages: dict[str, _Page] = {}


class WebsiteConnector:
    """Ids are canonical URLs. A page is asked for when its lastmod changed, with ETag and Last-Modified.

    A page without a lastmod is asked for in each pass, and is rarely sent again. Only pages of the very origin of
    the source's URL are asked for, and none that robots.txt closes.
    """

    def __init__(self, settings: WebsiteSettings) -> None:
        self._settings = settings

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        async for change in fetching(self._settings, dict, lambda fetcher: self._pass(fetcher, cursor)):
            yield change

    async def _pass(self, fetcher: Fetcher, cursor: str | None) -> AsyncIterator[Change]:
        known = _read_cursor(cursor)
        if known.settings != self._settings.fingerprint:
            known = _Cursor(self._settings.fingerprint, {url: _Page() for url in known.pages})
        try:
            robots = await self._robots(fetcher)
            named, faults = await self._named(fetcher, robots)
        except FetchFailed as fault:
            yield Fault(fault.line, "*", fault.retry_after_seconds)
            return
        for line in faults:
            yield Fault(line)
        wanted = await asyncio.to_thread(self._wanted, named, robots)
        for url in [url for url in known.pages if url not in wanted]:
            del known.pages[url]
            yield Removal(url)
        if len(wanted) > self._settings.pages:
            yield Fault(f"{self._settings.key}: {len(wanted)} pages; the first {self._settings.pages} are read.")
        async for change in self._pages(fetcher, wanted, known):
            yield change

    async def _pages(self, fetcher: Fetcher, wanted: dict[str, str], known: _Cursor) -> AsyncIterator[Change]:
        told = 0
        for url, changed in list(wanted.items())[: self._settings.pages]:
            page = known.pages.get(url)
            if page is not None and changed and page.changed == changed:
                if page.fault:
                    yield Fault(page.fault, url)
                continue
            change = await self._read(fetcher, url, changed, known, wanted)
            if change is None:
                continue
            yield change
            if isinstance(change, Fault) and change.retry_after_seconds is not None:
                return  # The site asks to be left alone, and not only about this page.
            told += 1
            if told >= max(MARK_EACH, len(known.pages) // MARK_SHARE):
                told = 0
                yield Mark(msgspec.json.encode(known).decode())
        yield Mark(msgspec.json.encode(known).decode())

    async def _robots(self, fetcher: Fetcher) -> Robots:
        # RFC 9309: no such file allows everything; one that cannot be had now closes everything for now.
        reply = await fetcher.get(_root(self._settings.path) + "/robots.txt", taken=frozenset(range(400, 500)))
        text = reply.body.decode("utf-8", errors="replace") if reply.status < 300 else ""
        return Robots(text, AGENT)

    async def _named(self, fetcher: Fetcher, robots: Robots) -> tuple[dict[str, str], list[str]]:
        """The pages of all sitemaps, and which sitemaps are not asked. Raises FetchFailed when one cannot be had."""
        root = _root(self._settings.path)
        first = (self._settings.sitemap,) if self._settings.sitemap else robots.sitemaps or (f"{root}/sitemap.xml",)
        waiting = [_joined(f"{root}/", place) for place in first]
        faults: list[str] = []
        pages: dict[str, str] = {}
        done: set[str] = set()
        while waiting:
            place = waiting.pop(0)
            if place in done:
                continue
            done.add(place)
            if _root(place) != root:
                faults.append(f"{self._settings.key}: the sitemap {place!r} is of another host; it is not asked.")
                continue
            if len(done) > MOST_SITEMAPS:
                raise FetchFailed(f"{self._settings.key}: more than {MOST_SITEMAPS} sitemaps.")
            # A sitemap that fails hides pages, and a hidden page must not look like one that is gone.
            reply = await fetcher.get(place, most_bytes=MOST_SITEMAP_BYTES)
            try:
                found = await asyncio.to_thread(read_sitemap, reply.body)
            except UnreadableSitemap as fault:
                raise FetchFailed(f"{place}: no sitemap can be read: {fault}.") from None
            pages |= found.pages
            waiting += [_joined(place, each) for each in found.maps]
        return pages, faults

    def _wanted(self, named: dict[str, str], robots: Robots) -> dict[str, str]:
        root, below = _root(self._settings.path), urlsplit(self._settings.path).path
        return {
            url: changed
            for url, changed in sorted(named.items())
            if _root(url) == root and f"{urlsplit(url).path}/".startswith(f"{below}/") and self._is_open(url, robots)
        }

    def _is_open(self, url: str, robots: Robots) -> bool:
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        include, exclude = self._settings.include, self._settings.exclude
        is_meant = not include or any(fnmatch.fnmatchcase(parts.path, glob) for glob in include)
        return is_meant and not any(fnmatch.fnmatchcase(parts.path, glob) for glob in exclude) and robots.allows(path)

    async def _read(
        self, fetcher: Fetcher, url: str, changed: str, known: _Cursor, wanted: dict[str, str]
    ) -> Change | None:
        """What to tell of a page, None when it is as it was. Notes in `known` how it is now."""
        before = known.pages.get(url, _Page())
        headers = {"if-none-match": before.etag} if before.etag else {}
        if before.modified:
            headers["if-modified-since"] = before.modified
        try:
            reply = await fetcher.get(url, headers=headers, taken=GONE | {304}, most_bytes=self._settings.page_bytes)
        except FetchFailed as fault:
            return Fault(fault.line, url, fault.retry_after_seconds)
        if reply.status in GONE or (reply.status != 304 and is_elsewhere(url, reply, wanted)):
            return Removal(url) if known.pages.pop(url, None) is not None else None
        if reply.status == 304:
            known.pages[url] = _Page(changed, before.etag, before.modified, before.fault)
            return Fault(before.fault, url) if before.fault else None
        page = _Page(changed, reply.headers.get("etag", ""), reply.headers.get("last-modified", ""))
        known.pages[url] = page
        try:
            return Upsert(await _document(url, reply, changed))
        except UnreadableDocument as fault:
            page.fault = f"{url}: {fault}"
            return Fault(page.fault, url)


async def _document(url: str, reply: Reply, changed: str) -> Document:
    """The page; what it is says its type, as an address may end in anything."""
    mime = reply.headers.get("content-type", "text/html")
    is_page = "html" in mime
    name = "" if is_page else urlsplit(url).path
    page = await asyncio.to_thread(read_file, url, reply.body, url, mime=mime, name=name or "page")
    told = attributes_of(source="website", updated_at=changed or None)
    return write_document(url, page.title if page.title != "page" else url, page.text, url, attributes=told)


def _joined(place: str, link: str) -> str:
    try:
        return urljoin(place, link)
    except ValueError:
        return link


def _root(url: str) -> str:
    parts = urlsplit(canonical(url))
    return f"{parts.scheme}://{parts.netloc}"


def _read_cursor(cursor: str | None) -> _Cursor:
    try:
        return msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor()
    except msgspec.DecodeError:
        return _Cursor()


CONNECTOR = Kind(WebsiteSettings, WebsiteConnector)
