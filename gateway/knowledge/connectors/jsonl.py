"""One JSONL file, a document a line."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from gateway.knowledge.connectors import SETTLED_NS, Change, Fault, Kind, Mark, Removal, Upsert
from gateway.knowledge.document import Document, read_jsonl
from gateway.knowledge.settings import SourceSettings

LINES_AT_ONCE = 256
LINES_BETWEEN_MARKS = 1_024


class _Cursor(msgspec.Struct, omit_defaults=True):
    """ids: of the whole file, once it is read; before that, line: how many lines are told."""

    mtime_ns: int
    size: int
    ids: list[str] = []
    line: int = 0


class JsonlConnector:
    """Reads the file anew when its time or size changed, 256 lines at once; a first reading is marked every 1,024.

    As long as a line is at fault nothing is removed: the file may be half written, and which document the
    line held is not known.
    """

    def __init__(self, source: SourceSettings) -> None:
        self._path = Path(source.path)

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        before = _read_cursor(cursor)
        try:
            # Taken before reading: a write meanwhile then shows as a change next time.
            stat = self._path.stat()
        except OSError as fault:
            yield Fault(f"{self._path}: cannot be read ({fault.strerror}); what it held is kept.", "*")
            return
        is_same = before is not None and (before.mtime_ns, before.size) == (stat.st_mtime_ns, stat.st_size)
        if before is not None and before.line and not is_same:
            # The file that was half read is no more: what was told of it may be wrong.
            yield Mark("")
            before = None
        elif before is not None and not before.line and before.mtime_ns and is_same:
            yield Mark(cursor or "")
            return
        settled = stat.st_mtime_ns < time.time_ns() - SETTLED_NS
        async for change in self._all(before, _Cursor(stat.st_mtime_ns if settled else 0, stat.st_size)):
            yield change

    async def _all(self, before: _Cursor | None, now: _Cursor) -> AsyncIterator[Change]:
        told = before.line if before is not None else 0
        seen: set[str] = set()
        faults = 0
        async for found in self._read(told, seen):
            if isinstance(found, str):
                faults += 1
                yield Fault(found, "*")
            elif isinstance(found, int):
                # A later reading has a cursor with all ids, which a mark would have to repeat: it begins again.
                if before is None or told:
                    yield _mark(_Cursor(now.mtime_ns, now.size, line=found))
            elif found.id in seen:
                yield Fault(f"{self._path}: {found.id!r} stands there twice; the first is kept.")
            else:
                seen.add(found.id)
                yield Upsert(found)
        gone = set(before.ids) - seen if before else set()
        if faults:
            seen |= gone
        else:
            for identity in sorted(gone):
                yield Removal(identity)
        yield _mark(_Cursor(now.mtime_ns, now.size, sorted(seen)))

    async def _read(self, told: int, seen: set[str]) -> AsyncIterator[Document | str | int]:
        """Documents, faults, and now and then how many lines are read.

        told: so many lines were told before; only their ids are read, into `seen`.
        """
        with await asyncio.to_thread(self._path.open, "rb") as file:
            first = 1
            marked = told
            while True:
                lines, found = await asyncio.to_thread(_batch, file, str(self._path), first)
                is_told = first + lines - 1 <= told
                for each in found:
                    if not is_told:
                        yield each
                    elif isinstance(each, Document):
                        seen.add(each.id)
                first += lines
                if lines < LINES_AT_ONCE:
                    return
                if first - 1 - marked >= LINES_BETWEEN_MARKS:
                    marked = first - 1
                    yield marked


def _batch(file: BinaryIO, where: str, first: int) -> tuple[int, list[Document | str]]:
    lines = list(islice(file, LINES_AT_ONCE))
    return len(lines), list(read_jsonl(where, lines, first))


def _mark(cursor: _Cursor) -> Mark:
    return Mark(msgspec.json.encode(cursor).decode())


def _read_cursor(cursor: str | None) -> _Cursor | None:
    try:
        return msgspec.json.decode(cursor, type=_Cursor) if cursor else None
    except msgspec.DecodeError:
        return None


CONNECTOR = Kind(SourceSettings, JsonlConnector)
