"""Solved tickets of Freshdesk."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import msgspec

from gateway.knowledge.connectors import Change, Fault, Kind, Mark, Removal, Upsert
from gateway.knowledge.document import Document
from gateway.knowledge.remote.fetch import Fetcher, FetchFailed, basic, found_secret
from gateway.knowledge.remote.listing import OVERLAP_SECONDS, moment
from gateway.knowledge.remote.shapes import attributes_of, decoded_list, fetching
from gateway.knowledge.remote.tickets import write_ticket
from gateway.knowledge.settings import RemoteSettings

PAGE_SIZE = 100
# Page 301 is a 400 whatever it would hold.
MOST_PAGES = 300
SOLVED = frozenset({4, 5})
AGENT_REPLY = 1


class FreshdeskTicketsSettings(RemoteSettings, frozen=True, kw_only=True):
    """token: the reference of an agent's API key. since: the day before which a ticket is not of interest."""

    token: str | None = None
    since: str = "2015-01-01"


class _Ticket(msgspec.Struct):
    id: int
    status: int
    updated_at: str
    subject: str | None = None
    description: str | None = None
    description_text: str | None = None
    tags: list[str] = []
    deleted: bool = False
    spam: bool = False


class _Conversation(msgspec.Struct):
    body_text: str | None = None
    body: str | None = None
    incoming: bool = False
    private: bool = False


class _Cursor(msgspec.Struct):
    """since: everything updated before it is told. told: tickets of that very second that are told too.

    gone: the same for tickets that are deleted; they are asked for apart, so that neither window outruns the other.
    """

    settings: str = ""
    since: str = ""
    told: list[int] = []
    gone: str = ""


class FreshdeskTicketsConnector:
    """Ids are ticket ids. Each request asks for what was updated since the last ticket of the one before.

    Pages would shift under edits, and end at 300: a next page is asked for only as long as one second fills the
    pages before. Tickets that are deleted are asked for apart.
    """

    def __init__(self, settings: FreshdeskTicketsSettings, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._wall = wall

    def _headers(self) -> dict[str, str]:
        return basic(found_secret(self._settings.token, "token"), "X")

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        async for change in fetching(self._settings, self._headers, lambda fetcher: self._pass(fetcher, cursor)):
            yield change

    async def _pass(self, fetcher: Fetcher, cursor: str | None) -> AsyncIterator[Change]:
        known = _read_cursor(cursor)
        if known.settings != self._settings.fingerprint:
            first = f"{self._settings.since}T00:00:00Z"
            known = _Cursor(self._settings.fingerprint, first, gone=first)
        gone = _Cursor(since=known.gone)
        try:
            async for change in self._window(fetcher, gone, (("filter", "deleted"),)):
                if cursor and not isinstance(change, Mark):
                    yield change
            known.gone = gone.since
            told: set[str] = set()
            async for change in self._window(fetcher, known, ()):
                if isinstance(change, Upsert):
                    told.add(change.document.id)
                # In a first pass most are open and were never told: a removal each would be for nothing.
                if cursor or not isinstance(change, Removal) or change.document in told:
                    yield change
        except FetchFailed as fault:
            yield Fault(fault.line, "*", fault.retry_after_seconds)
            return
        yield Mark(msgspec.json.encode(known).decode())

    async def _window(
        self, fetcher: Fetcher, known: _Cursor, query: tuple[tuple[str, str], ...]
    ) -> AsyncIterator[Change]:
        number = 1
        done = {(ticket, known.since) for ticket in known.told}
        while True:
            order = (("order_by", "updated_at"), ("order_type", "asc"), ("include", "description"))
            window = (("updated_since", known.since), ("per_page", str(PAGE_SIZE)), ("page", str(number)))
            tickets = decoded_list(await fetcher.get("api/v2/tickets", (*query, *window, *order)), _Ticket)
            for ticket in tickets:
                if (ticket.id, ticket.updated_at) not in done:
                    done.add((ticket.id, ticket.updated_at))
                    document = await self._document(fetcher, ticket)
                    yield Removal(str(ticket.id)) if document is None else Upsert(document)
            last = max((ticket.updated_at for ticket in tickets), key=moment, default=known.since)
            moved = moment(last) > moment(known.since)
            known.since = last if moved else known.since
            if len(tickets) < PAGE_SIZE:
                # A second that is not over may bring more: it is told again.
                is_over = moment(known.since) < self._wall() - OVERLAP_SECONDS
                known.told = sorted({ticket for ticket, stamp in done if stamp == known.since}) if is_over else []
                return
            if moved:
                number = 1
                done = {(ticket, stamp) for ticket, stamp in done if stamp == last}
                known.told = []
                yield Mark(msgspec.json.encode(known).decode())
            elif number == MOST_PAGES:
                skipped = datetime.fromtimestamp(moment(known.since) + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                yield Fault(f"{self._settings.key}: more than {MOST_PAGES} pages of one second; the rest is left out.")
                known.since, number = skipped, 1
            else:
                number += 1

    async def _document(self, fetcher: Fetcher, ticket: _Ticket) -> Document | None:
        if ticket.status not in SOLVED or ticket.deleted or ticket.spam:
            return None
        answers: list[str] = []
        for number in range(1, MOST_PAGES + 1):
            query = [("per_page", str(PAGE_SIZE)), ("page", str(number))]
            reply = await fetcher.get(f"api/v2/tickets/{ticket.id}/conversations", query, taken=frozenset({404}))
            if reply.status == 404:  # Deleted since it was listed.
                return None
            said = decoded_list(reply, _Conversation)
            answers += [one.body_text or one.body or "" for one in said if not one.incoming and not one.private]
            if len(said) < PAGE_SIZE:
                break
        told = attributes_of(
            source="freshdesk_tickets", updated_at=ticket.updated_at, labels=", ".join(sorted(ticket.tags))
        )
        url = f"{self._settings.path}/a/tickets/{ticket.id}"
        question = ticket.description_text or ticket.description or ""
        return await asyncio.to_thread(write_ticket, str(ticket.id), ticket.subject or "", question, answers, url, told)


def _read_cursor(cursor: str | None) -> _Cursor:
    try:
        return msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor()
    except msgspec.DecodeError:
        return _Cursor()


CONNECTOR = Kind(FreshdeskTicketsSettings, FreshdeskTicketsConnector)
