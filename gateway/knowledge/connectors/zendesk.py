"""A Zendesk help centre: the published articles of one locale."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from urllib.parse import quote

import msgspec

from gateway.core.facts import Attributes
from gateway.knowledge.connectors import Change, Fault, Kind
from gateway.knowledge.document import Document, read_html, write_document
from gateway.knowledge.remote.fetch import GONE, Fetcher, Reply
from gateway.knowledge.remote.listing import Found, Page, walk
from gateway.knowledge.remote.shapes import Restricted, attributes_of, decoded, fetching
from gateway.knowledge.remote.zendesk_account import account_headers
from gateway.knowledge.settings import RemoteSettings

PAGE_SIZE = 100


class ZendeskSettings(RemoteSettings, frozen=True, kw_only=True):
    """username, token: an agent's e-mail address and the reference of an API token; None reads as a visitor does."""

    username: str = ""
    token: str | None = None
    locale: str = "en-us"

    @property
    def key(self) -> str:
        """With the locale: a help centre has one set of articles for each."""
        return f"{self.kind}:{self.path}/{self.locale}"


class _Article(msgspec.Struct):
    id: int
    updated_at: str
    title: str | None = None
    body: str | None = None
    html_url: str | None = None
    draft: bool = False
    section_id: int | None = None
    label_names: list[str] = []
    locale: str = ""
    user_segment_id: int | None = None
    user_segment_ids: list[int] | None = None


class _One(msgspec.Struct):
    article: _Article


class _Meta(msgspec.Struct):
    has_more: bool = False
    after_cursor: str | None = None


class _Links(msgspec.Struct):
    next: str | None = None


class _Articles(msgspec.Struct):
    articles: list[_Article]
    meta: _Meta = msgspec.field(default_factory=_Meta)
    links: _Links = msgspec.field(default_factory=_Links)


class ZendeskConnector:
    """Ids are article ids. An article that a user segment may read is restricted; drafts are passed over."""

    def __init__(self, settings: ZendeskSettings, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        headers = partial(account_headers, self._settings.username, self._settings.token)
        async for change in fetching(
            self._settings,
            headers,
            lambda fetcher: walk(_Listing(self._settings, fetcher), self._settings.fingerprint, cursor, self._wall),
        ):
            yield change


class _Listing:
    is_dear = False
    has_newest = True

    def __init__(self, settings: ZendeskSettings, fetcher: Fetcher) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._restricted = Restricted(settings.restricted)
        self._path = f"api/v2/help_center/{quote(settings.locale, safe='')}/articles"

    async def page(self, token: str | None, *, newest_first: bool) -> Page:
        if token is None:
            order = "desc" if newest_first else "asc"
            query = [("page[size]", str(PAGE_SIZE)), ("sort_by", "updated_at"), ("sort_order", order)]
            reply: Reply = await self._fetcher.get(f"{self._path}.json", query)
        else:
            reply = await self._fetcher.get(token)
        found = decoded(reply, _Articles)
        after = found.links.next if found.meta.has_more else None
        return Page(tuple(self._found(article) for article in found.articles), after)

    async def find(self, identity: str) -> Found | None:
        reply = await self._fetcher.get(f"{self._path}/{identity}.json", taken=GONE)
        return None if reply.status in GONE else self._found(decoded(reply, _One).article)

    def remarks(self) -> tuple[str, ...]:
        return self._restricted.remarks(self._settings.key)

    def _found(self, article: _Article) -> Found:
        async def read() -> Document | Fault | None:
            return await self._document(article)

        return Found(str(article.id), article.updated_at, read)

    async def _document(self, article: _Article) -> Document | None:
        if article.draft or not (article.body or "").strip():
            return None
        is_restricted = article.user_segment_id is not None or bool(article.user_segment_ids)
        if is_restricted and not self._restricted.takes(str(article.id)):
            return None
        page = await asyncio.to_thread(read_html, str(article.id), article.body or "", article.html_url)
        return write_document(
            page.id,
            article.title or page.title,
            page.text,
            page.url,
            attributes=_attributes(article),
            readers=self._restricted.readers if is_restricted else None,
        )


def _attributes(article: _Article) -> Attributes:
    return attributes_of(
        source="zendesk",
        updated_at=article.updated_at,
        locale=article.locale,
        section=None if article.section_id is None else str(article.section_id),
        labels=", ".join(sorted(article.label_names)),
    )


CONNECTOR = Kind(ZendeskSettings, ZendeskConnector)
