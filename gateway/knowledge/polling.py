"""Asking remote sources now and then, each at its own pace, and what is known of how that went."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import msgspec

from gateway.core.values import Value
from gateway.knowledge.connectors import Change, Connector, Fault, Mark
from gateway.knowledge.ingest import SyncReport
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.sources import is_polled

AT_ONCE = 4
LONGEST_PAUSE_SECONDS = 3600.0
MOST_FAULTS = 20

_log = logging.getLogger(__name__)


class SourceRecord(Value, frozen=True):
    """How the passes over one source went. Times in Unix seconds, None for never.

    documents: it had after its last whole pass. failures: passes in a row that did not see the source whole.
    settings: the fingerprint of what was asked for.
    """

    settings: str = ""
    success_at: float | None = None
    next_at: float | None = None
    documents: int | None = None
    failures: int = 0
    faults: tuple[str, ...] = ()


class SourceStatus(Value, frozen=True):
    """One source of a collection as `gateway knowledge status` shows it. next_at: None for what is watched."""

    collection: str
    kind: str
    place: str
    record: SourceRecord


class SourceRecords:
    """The records by `collection:source`, kept in a file so that they outlive the process and others can read them.

    path: None keeps them in memory. A file that cannot be read counts as empty: it holds nothing that the next pass
    would not bring back.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._records = self._read()

    def get(self, key: str) -> SourceRecord:
        """A source's record; an empty one before its first pass."""
        return self._records.get(key, SourceRecord())

    def put(self, key: str, record: SourceRecord, known: Iterable[str]) -> None:
        """Notes a record, and forgets sources that are not known any more. Another process's notes are kept."""
        keys = {key, *known}
        self._records = {name: one for name, one in (self._read() | self._records).items() if name in keys}
        self._records[key] = record
        if self._path is None:
            return
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        with contextlib.suppress(OSError):  # A full disk costs the notes, not the documents.
            fresh.write_bytes(msgspec.json.encode(self._records))
            fresh.replace(self._path)

    def _read(self) -> dict[str, SourceRecord]:
        try:
            data = self._path.read_bytes() if self._path is not None else b"{}"
            return msgspec.json.decode(data, type=dict[str, SourceRecord])
        except (OSError, msgspec.DecodeError):
            return {}


class Observed:
    """How a pass ended: whole only when a Mark came last."""

    def __init__(self) -> None:
        self.is_whole = False
        self.retry_after_seconds: float | None = None

    def through(self, inner: Connector) -> Connector:
        """The connector, with its changes looked at as they pass."""
        return _Through(inner, self)


class _Through:
    def __init__(self, inner: Connector, seen: Observed) -> None:
        self._inner = inner
        self._seen = seen

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        async for change in self._inner.changes(cursor):
            self._seen.is_whole = isinstance(change, Mark)
            if isinstance(change, Fault):
                self._seen.retry_after_seconds = change.retry_after_seconds
            yield change


def after_pass(
    before: SourceRecord, source: SourceSettings, seen: Observed, report: SyncReport, now: float
) -> SourceRecord:
    """The record after a pass. A source that fails is asked half as often with each failure, at least each hour."""
    faults = report.faults[:MOST_FAULTS]
    every = source.every_seconds
    if seen.is_whole:
        documents = report.added + report.updated + report.unchanged
        return SourceRecord(source.fingerprint, now, None if every is None else now + every, documents, 0, faults)
    failures = before.failures + 1
    pause = None
    if every is not None:
        longest = max(every, LONGEST_PAUSE_SECONDS)
        pause = max(min(every * 2 ** min(failures, 12), longest), seen.retry_after_seconds or 0.0)
    next_at = None if pause is None else now + pause
    return SourceRecord(source.fingerprint, before.success_at, next_at, before.documents, failures, faults)


class Poller:
    """A task for each remote source, at most four passes at once.

    passing: makes one pass over a source of a collection. due_at: when the next one is due. A pass that fails in a
    way that nobody foresaw is logged, and the source asked again at its next turn.
    """

    def __init__(
        self,
        passing: Callable[[CollectionSettings, SourceSettings], Awaitable[None]],
        due_at: Callable[[CollectionSettings, SourceSettings], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._passing = passing
        self._due_at = due_at
        self._wall = wall
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[tuple[str, SourceSettings], asyncio.Task[None]] = {}

    async def replace(self, collections: Iterable[CollectionSettings]) -> None:
        """Begins the tasks of new sources, and ends those of sources that are named no more or otherwise."""
        wanted = {
            (settings.name, source): settings
            for settings in collections
            for source in settings.sources
            if is_polled(source)
        }
        await self._end([place for place in self._tasks if place not in wanted])
        for (name, source), settings in wanted.items():
            if (name, source) not in self._tasks:
                task = asyncio.create_task(self._ask(settings, source), name=f"source {name}:{source.key}")
                self._tasks[name, source] = task

    async def close(self) -> None:
        """Ends all tasks; a pass in hand is cut off, and goes on from its last mark another time."""
        await self._end(list(self._tasks))

    async def _end(self, places: list[tuple[str, SourceSettings]]) -> None:
        ending = [self._tasks.pop(place) for place in places]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _ask(self, settings: CollectionSettings, source: SourceSettings) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._due_at(settings, source) - self._wall()))
            async with self._room:
                try:
                    await self._passing(settings, source)
                except Exception:  # noqa: BLE001 - it must not end the only task that asks this source
                    _log.exception("source_failed collection=%s source=%s", settings.name, source.key)
            if self._due_at(settings, source) <= self._wall():
                # Nobody noted when to ask again: another replica is at it, or the pass failed unforeseen.
                await asyncio.sleep(source.every_seconds or LONGEST_PAUSE_SECONDS)
