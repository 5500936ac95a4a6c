"""Keeping up with a place that lists what it has: whole passes now and then, and between them only what is newest.

A whole pass pages through everything, tells marks on its way so that a killed one goes on, and asks at its end for
each thing that it knows and did not meet: while one pages, an edit or a deletion moves others past the page's edge,
and they must not be taken for gone. A short pass reads the newest first until it meets what it knows; what moves
while it pages is newer than all it saw, and so in the next.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from gateway.core.values import Value
from gateway.knowledge.connectors import Change, Fault, Mark, Removal, Upsert
from gateway.knowledge.document import Document
from gateway.knowledge.remote.fetch import FetchFailed

WHOLE_SECONDS = 3600.0
# Clocks differ, and some places tell times by the minute: what is this near the newest is read again.
OVERLAP_SECONDS = 120.0
MARK_EACH = 100
# Beside each mark the cursor is written whole; with many ids marks come seldomer, so that what is written stays in
# proportion to what is read.
MARK_SHARE = 8

Read = Callable[[], Awaitable[Document | Fault | None]]


class Found(Value, frozen=True):
    """One thing that is listed. stamp: when it was changed, ISO 8601. read: its document now.

    read gives None for what is there and not to be taken: a draft, something restricted, an empty page.
    """

    id: str
    stamp: str
    read: Read


class Page(Value, frozen=True):
    """A part of the list. next: asks for the part after it, in this pass or a later one; None at the end."""

    found: tuple[Found, ...]
    next: str | None = None
    faults: tuple[Fault, ...] = ()


class Listing(Protocol):
    """A place that lists. is_dear: reading costs requests, so that a stamp that is known is believed.

    has_newest: whether it can list the newest first; without that each pass is a whole one.
    """

    is_dear: bool
    has_newest: bool

    async def page(self, token: str | None, *, newest_first: bool) -> Page:
        """A page; without a token the first. Raises FetchFailed."""
        ...

    async def find(self, identity: str) -> Found | None:
        """One thing by its id; None when it is there no more. Raises FetchFailed."""
        ...

    def remarks(self) -> tuple[str, ...]:
        """Lines for a person about the pass so far, such as how much was left out."""
        ...


class _Told(msgspec.Struct, array_like=True):
    """stamp: "" is looked at again. version: of the document that was told."""

    stamp: str = ""
    version: str = ""


class _Known(msgspec.Struct):
    """The cursor. seen, page: how far a whole pass has come; None between passes. newest: the latest stamp met.

    remarks: of the last whole pass; a short one sees too little to say how much is left out.
    """

    settings: str
    ids: dict[str, _Told] = {}
    whole_at: float = 0.0
    newest: str = ""
    page: str | None = None
    seen: list[str] | None = None
    remarks: list[str] = []


async def walk(
    listing: Listing, fingerprint: str, cursor: str | None, wall: Callable[[], float] = time.time
) -> AsyncIterator[Change]:
    """The changes of a listing since the cursor: see Connector. fingerprint: of the settings."""
    known = _read_cursor(cursor)
    is_other = known.settings != fingerprint
    known.settings = fingerprint
    whole = is_other or not listing.has_newest or known.seen is not None or wall() - known.whole_at >= WHOLE_SECONDS
    if is_other:
        # Whatever was found under other settings may not be taken under these: everything is read anew.
        known.ids = {identity: _Told() for identity in known.ids}
        known.page = known.seen = None
    try:
        async for change in _whole(listing, known, wall) if whole else _short(listing, known, wall):
            if change is not None:
                yield change
    except FetchFailed as fault:
        yield Fault(fault.line, "*", fault.retry_after_seconds)
        return
    if whole:
        known.remarks = list(listing.remarks())
    for line in known.remarks:
        yield Fault(line)
    yield Mark(msgspec.json.encode(known).decode())


async def _whole(listing: Listing, known: _Known, wall: Callable[[], float]) -> AsyncIterator[Change | None]:
    started = wall()
    may_be_stale = known.seen is not None
    # What a pass in two parts met in the first may have gone before the second: the next one is whole again.
    is_sure = not may_be_stale
    seen = dict.fromkeys(known.seen or ())
    token = known.page
    since_mark = 0
    while True:
        try:
            page = await listing.page(token, newest_first=False)
        except FetchFailed as failed:
            if not may_be_stale or failed.status not in {400, 404, 410, 422}:
                raise
            # A place to go on from, of an earlier pass, that its owner no longer knows: begin again.
            token = known.page = known.seen = None
            seen, may_be_stale = {}, False
            continue
        may_be_stale = False
        for found in page.found:
            # Met again, it was edited while we paged; what it moved past us may be new and not met at all.
            is_known = _stamp(known, found) == found.stamp and (listing.is_dear or found.id in seen)
            is_sure = is_sure and found.id not in seen
            seen[found.id] = None
            if not is_known:
                yield await _told(known, found, wall())
        for fault in page.faults:
            yield fault
        since_mark += len(page.found)
        token = page.next
        if token is None:
            break
        if since_mark >= max(MARK_EACH, len(known.ids) // MARK_SHARE):
            since_mark = 0
            known.page, known.seen = token, list(seen)
            yield Mark(msgspec.json.encode(known).decode())
    async for change in _missed(listing, known, seen, wall):
        yield change
    known.page = known.seen = None
    known.whole_at = started if listing.has_newest and is_sure else 0.0


async def _missed(
    listing: Listing, known: _Known, seen: dict[str, None], wall: Callable[[], float]
) -> AsyncIterator[Change | None]:
    for identity in [identity for identity in known.ids if identity not in seen]:
        found_after_all = await listing.find(identity)
        if found_after_all is None:
            del known.ids[identity]
            yield Removal(identity)
        else:
            yield await _told(known, found_after_all, wall())


async def _short(listing: Listing, known: _Known, wall: Callable[[], float]) -> AsyncIterator[Change | None]:
    horizon = moment(known.newest) - OVERLAP_SECONDS
    token: str | None = None
    while True:
        page = await listing.page(token, newest_first=True)
        for found in page.found:
            if moment(found.stamp) < horizon:
                return
            if _stamp(known, found) != found.stamp:
                yield await _told(known, found, wall())
        for fault in page.faults:
            yield fault
        token = page.next
        if token is None:
            return


async def _told(known: _Known, found: Found, now: float) -> Change | None:
    """What to tell of one thing; None when that is nothing."""
    before = known.ids.get(found.id)
    document = await found.read()
    known.newest = max(known.newest, found.stamp, key=moment)
    if isinstance(document, Fault):
        # It is there and could not be read: what is kept of it stays, and it is tried again.
        if before is not None:
            before.stamp = ""
        return document
    if document is None:
        return Removal(found.id) if known.ids.pop(found.id, None) is not None else None
    # A stamp as young as this may stand for two edits: "" has it read again by the next pass.
    stamp = found.stamp if moment(found.stamp) < now - OVERLAP_SECONDS else ""
    known.ids[found.id] = _Told(stamp, document.version)
    return None if before is not None and before.version == document.version else Upsert(document)


def _stamp(known: _Known, found: Found) -> str | None:
    told = known.ids.get(found.id)
    return None if told is None else told.stamp


def moment(stamp: str) -> float:
    """Unix seconds of an ISO 8601 stamp; 0 for one that cannot be read."""
    try:
        found = datetime.fromisoformat(stamp)
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _read_cursor(cursor: str | None) -> _Known:
    try:
        return msgspec.json.decode(cursor, type=_Known) if cursor else _Known("")
    except msgspec.DecodeError:
        return _Known("")
