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


class _Cursor(msgspec.Struct):
    mtime_ns: int
    size: int
    ids: list[str]


class JsonlConnector:
    """Reads the file anew when its time or size changed, 256 lines at once.

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
        settled = stat.st_mtime_ns < time.time_ns() - SETTLED_NS
        if (
            before is not None
            and before.mtime_ns
            and (before.mtime_ns, before.size) == (stat.st_mtime_ns, stat.st_size)
        ):
            yield Mark(cursor or "")
            return
        seen: set[str] = set()
        faults = 0
        async for found in self._read():
            if isinstance(found, str):
                faults += 1
                yield Fault(found, "*")
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
        mtime_ns = stat.st_mtime_ns if settled else 0
        yield Mark(msgspec.json.encode(_Cursor(mtime_ns, stat.st_size, sorted(seen))).decode())

    async def _read(self) -> AsyncIterator[Document | str]:
        with await asyncio.to_thread(self._path.open, "rb") as file:
            first = 1
            while True:
                lines, found = await asyncio.to_thread(_batch, file, str(self._path), first)
                for each in found:
                    yield each
                if lines < LINES_AT_ONCE:
                    return
                first += lines


def _batch(file: BinaryIO, where: str, first: int) -> tuple[int, list[Document | str]]:
    lines = list(islice(file, LINES_AT_ONCE))
    return len(lines), list(read_jsonl(where, lines, first))


def _read_cursor(cursor: str | None) -> _Cursor | None:
    try:
        return msgspec.json.decode(cursor, type=_Cursor) if cursor else None
    except msgspec.DecodeError:
        return None


CONNECTOR = Kind(SourceSettings, JsonlConnector)
