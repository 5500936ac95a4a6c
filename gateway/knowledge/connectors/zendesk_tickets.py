"""Solved tickets of Zendesk, by its incremental export."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import msgspec

from gateway.knowledge.connectors import Change, Fault, Kind, Mark, Removal, Upsert
from gateway.knowledge.document import Document
from gateway.knowledge.remote.fetch import Fetcher, FetchFailed
from gateway.knowledge.remote.shapes import attributes_of, decoded, fetching
from gateway.knowledge.remote.tickets import write_ticket
from gateway.knowledge.remote.zendesk_account import account_headers
from gateway.knowledge.settings import RemoteSettings

SOLVED = frozenset({"solved", "closed"})
MOST_COMMENT_PAGES = 20


class ZendeskTicketsSettings(RemoteSettings, frozen=True, kw_only=True):
    """username, token: an agent's e-mail address and the reference of an API token."""

    # The export may be asked ten times a minute; comments of tickets have a wider limit of their own.
    requests_per_second: float = 5.0
    username: str = ""
    token: str | None = None


class _Ticket(msgspec.Struct):
    id: int
    status: str
    updated_at: str = ""
    subject: str | None = None
    description: str | None = None
    requester_id: int | None = None
    tags: list[str] = []


class _Tickets(msgspec.Struct):
    tickets: list[_Ticket]
    end_time: int | None = None
    end_of_stream: bool = False


class _Comment(msgspec.Struct):
    author_id: int | None = None
    body: str | None = None
    plain_body: str | None = None
    public: bool = True


class _Meta(msgspec.Struct):
    has_more: bool = False


class _Links(msgspec.Struct):
    next: str | None = None


class _Comments(msgspec.Struct):
    comments: list[_Comment]
    meta: _Meta = msgspec.field(default_factory=_Meta)
    links: _Links = msgspec.field(default_factory=_Links)


class _Cursor(msgspec.Struct):
    """told: tickets of the last page with their stamps; the export tells the last ones again."""

    settings: str = ""
    start_time: int = 0
    told: dict[int, str] = {}


class ZendeskTicketsConnector:
    """Ids are ticket ids. The question is what was asked first, the resolution what agents answered in public.

    A ticket that is opened again, deleted or answered by nobody is a removal; the next solution brings it back.
    """

    def __init__(self, settings: ZendeskTicketsSettings) -> None:
        self._settings = settings

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        headers = partial(account_headers, self._settings.username, self._settings.token)
        async for change in fetching(self._settings, headers, lambda fetcher: self._pass(fetcher, cursor)):
            yield change

    async def _pass(self, fetcher: Fetcher, cursor: str | None) -> AsyncIterator[Change]:
        known = _read_cursor(cursor)
        if known.settings != self._settings.fingerprint:
            known = _Cursor(self._settings.fingerprint)
        solved: set[int] = set()
        try:
            while True:
                query = [("start_time", str(known.start_time)), ("per_page", "1000")]
                reply = await fetcher.get("api/v2/incremental/tickets.json", query)
                found = decoded(reply, _Tickets)
                fresh = [ticket for ticket in found.tickets if known.told.get(ticket.id) != ticket.updated_at]
                for ticket in fresh:
                    document = await self._document(fetcher, ticket)
                    if document is not None:
                        solved.add(ticket.id)
                        yield Upsert(document)
                    elif cursor or ticket.id in solved:
                        # In a first pass most are open and were never told: a removal each would be for nothing.
                        yield Removal(str(ticket.id))
                is_over = found.end_of_stream or found.end_time is None or found.end_time <= known.start_time
                known.start_time = max(known.start_time, found.end_time or 0)
                if found.tickets:
                    known.told = {ticket.id: ticket.updated_at for ticket in found.tickets}
                yield Mark(msgspec.json.encode(known).decode())
                if is_over:
                    return
        except FetchFailed as fault:
            yield Fault(fault.line, "*", fault.retry_after_seconds)

    async def _document(self, fetcher: Fetcher, ticket: _Ticket) -> Document | None:
        if ticket.status not in SOLVED:
            return None
        answers: list[str] = []
        target = f"api/v2/tickets/{ticket.id}/comments.json?page[size]=100"
        for _ in range(MOST_COMMENT_PAGES):
            reply = await fetcher.get(target, taken=frozenset({404}))
            if reply.status == 404:  # Deleted since it was listed.
                return None
            page = decoded(reply, _Comments)
            answers += [
                comment.plain_body or comment.body or ""
                for comment in page.comments
                if comment.public and comment.author_id != ticket.requester_id
            ]
            if not page.meta.has_more or page.links.next is None:
                break
            target = page.links.next
        told = attributes_of(
            source="zendesk_tickets", updated_at=ticket.updated_at, labels=", ".join(sorted(ticket.tags))
        )
        url = f"{self._settings.path}/agent/tickets/{ticket.id}"
        return await asyncio.to_thread(
            write_ticket, str(ticket.id), ticket.subject or "", ticket.description or "", answers, url, told
        )


def _read_cursor(cursor: str | None) -> _Cursor:
    try:
        return msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor()
    except msgspec.DecodeError:
        return _Cursor()


CONNECTOR = Kind(ZendeskTicketsSettings, ZendeskTicketsConnector)
