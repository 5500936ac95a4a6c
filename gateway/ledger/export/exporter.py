"""From the journal to the export target, beside the shipper and never in its way.

Each segment gets a second name under `journal/export/` as soon as it is there. The shipper may then delete the first:
the file lives on until it is exported too, and a target that is away holds up nobody.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.core.errors import GatewayError
from gateway.ledger.export.store import ExportStore
from gateway.ledger.export.target import Target
from gateway.ledger.journal import Journal
from gateway.ledger.records import Final, Intent, Record, Void, read_frames
from gateway.ledger.recovery import take_lock
from gateway.ledger.rows import event_row

BATCH_BYTES = 4 * 1024 * 1024
LARGEST_RECORD = 32 * 1024 * 1024
LONGEST_PAUSE = 300.0
# What waits for a target that stays away; beyond it the oldest is given up, for a full disk would stop calls.
MOST_WAITING_BYTES = 8 * 1024**3

log = logging.getLogger("gateway.ledger")


class Segment(msgspec.Struct):
    """A segment that is being exported. planned: the end of a batch that was begun before."""

    offset: int
    planned: int


class Exporter:
    """Exports what this process writes, and what dead ones left. One task runs `run`; `close` lets go of the files."""

    def __init__(
        self, journal: Journal, target: Target, store: ExportStore, most_waiting_bytes: int = MOST_WAITING_BYTES
    ) -> None:
        self._journal = journal
        self._target = target
        self._store = store
        self._most_waiting_bytes = most_waiting_bytes
        self._folder = journal.folder / "export"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._segments: dict[str, Segment] = {}
        # Locked before it has its name, as the journal's own: the files of a dead process are those nobody has locked.
        fresh = self._folder / f"{journal.process}.new"
        self._lock = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(self._folder / f"{journal.process}.lock")
        self.keep(journal.path(journal.number))
        journal.opened = self.keep

    def keep(self, segment: Path) -> None:
        """Gives a segment its second name. What cannot be kept is not exported, and no call fails for it."""
        try:
            os.link(segment, self._folder / segment.name)
        except OSError as fault:
            log.exception("export_lost", extra={"fields": {"segment": segment.name, "error": fault.strerror}})

    def passed(self, number: int) -> bool:
        """Whether a segment of this process is exported whole."""
        return not (self._folder / self._journal.path(number).name).exists()

    async def run(self) -> None:
        """Exports in the background, for ever. Raises the database's error when it is away."""
        pause = self._target.every_seconds
        while True:
            try:
                await self.export_all()
                pause = self._target.every_seconds
            except (GatewayError, OSError) as fault:
                pause = min(pause * 2, LONGEST_PAUSE)
                told = {"error": str(fault)[:200], "retry_in": pause}
                log.warning("export_failed", extra={"fields": told})
                self._give_up_the_oldest()
            await asyncio.sleep(pause)

    async def export_all(self) -> None:
        """Exports everything written up to now. Raises OSError or GatewayError when the target cannot take it."""
        await self._export_own()
        for lock_path in sorted(self._folder.glob("*.lock")):
            if lock_path.stem == self._journal.process:
                continue
            lock = take_lock(lock_path)
            if lock is None:
                continue
            try:
                if await self._export_dead(lock_path.stem):
                    lock_path.unlink()
            finally:
                os.close(lock)

    def close(self) -> None:
        """Lets go of the files. What is exported whole is gone; the rest is for the next process."""
        self._journal.opened = None
        if not list(self._folder.glob(f"{self._journal.process}-*.journal")):
            (self._folder / f"{self._journal.process}.lock").unlink(missing_ok=True)
        os.close(self._lock)

    async def finish(self) -> None:
        """Exports the end of a closed journal."""
        await self._export_own()
        if self._journal.all_settled:
            for path in self._paths(self._journal.process):
                await self._drop(path)

    async def _export_own(self) -> None:
        for path in self._paths(self._journal.process):
            number = int(path.stem.rpartition("-")[2])
            # Asked before reading: what is closed now has nothing more to come.
            is_settled = self._journal.settled(number)
            await self._export(path)
            if is_settled:
                await self._drop(path)

    async def _export_dead(self, process: str) -> bool:
        """Exports a dead process's segments, and its orphans as they were booked; False when that is still to come."""
        paths = self._paths(process)
        for path in paths:
            await self._export(path)
        orphans: set[str] = set()
        for path in paths:
            orphans = _open_intents(path, orphans)
        if (self._journal.folder / f"{process}.lock").exists():
            return False
        if orphans:
            rows = await self._store.rows(orphans)
            if rows:
                await self._target.write(f"{process}-orphans", rows)
        for path in paths:
            await self._drop(path)
        return True

    async def _export(self, path: Path) -> None:
        segment = self._segments.get(path.name)
        if segment is None:
            segment = self._segments[path.name] = Segment(*await self._store.offsets(path.name))
        while True:
            # A batch that was begun ends where it ended then: under its name there must be the same rows.
            limit = segment.planned if segment.planned > segment.offset else None
            rows, end = await asyncio.to_thread(_batch, path, segment.offset, limit)
            if end == segment.offset:
                return
            if rows:
                if limit is None:
                    await self._store.plan(path.name, end)
                    segment.planned = end
                await self._target.write(f"{path.stem}-{segment.offset}", rows)
            await self._store.passed(path.name, end)
            segment.offset = end

    async def _drop(self, path: Path) -> None:
        _remove(path)
        self._segments.pop(path.name, None)
        await self._store.forget(path.name)

    def _paths(self, process: str) -> list[Path]:
        return sorted(self._folder.glob(f"{process}-*.journal"))

    def _give_up_the_oldest(self) -> None:
        newest_first = sorted(self._folder.glob("*.journal"), key=lambda path: path.name, reverse=True)
        own = self._folder / self._journal.path(self._journal.number).name
        size = 0
        for path in newest_first:
            size += path.stat().st_size
            if size > self._most_waiting_bytes and path != own:
                log.error("export_given_up", extra={"fields": {"segment": path.name, "bytes": path.stat().st_size}})
                path.unlink()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _batch(path: Path, offset: int, limit: int | None) -> tuple[list[dict[str, Any]], int]:
    """Rows from an offset on, and the offset after the last record that was read. limit: an end, else BATCH_BYTES."""
    rows: list[dict[str, Any]] = []
    end = offset
    for record, after in _records(path, offset, BATCH_BYTES if limit is None else limit - offset):
        if limit is not None and after > limit:
            break
        end = after
        if isinstance(record, Final):
            rows.append(event_row(record.event))
    return rows, end


def _open_intents(path: Path, before: set[str]) -> set[str]:
    """Attempts whose intent is here or was before, and whose end is neither here nor was."""
    found = set(before)
    for record, _ in _records(path, 0, path.stat().st_size):
        if isinstance(record, Intent):
            found.add(record.event.id)
        elif isinstance(record, Final):
            found.discard(record.event.id)
        elif isinstance(record, Void):
            found.discard(record.event_id)
    return found


def _records(path: Path, offset: int, size: int) -> Iterator[tuple[Record, int]]:
    handle = os.open(path, os.O_RDONLY)
    try:
        data = os.pread(handle, size, offset)
        if len(data) == size and next(read_frames(data), None) is None:
            data = os.pread(handle, LARGEST_RECORD, offset)
    finally:
        os.close(handle)
    for record, after in read_frames(data):
        yield record, offset + after
