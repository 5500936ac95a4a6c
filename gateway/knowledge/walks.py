"""What is kept of walks through a folder, so that an edit costs the same in a folder of any size."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import msgspec

from gateway.knowledge.connectors import Change, Mark
from gateway.knowledge.connectors.folder import JSONL_SUFFIX, FolderConnector
from gateway.knowledge.settings import SourceSettings
from gateway.knowledge.stores import Store


class _Journal(msgspec.Struct, array_like=True):
    """walk: the digest of what the last whole walk found. touched: files that were looked at by themselves since."""

    walk: str
    touched: list[str] = []


def walk_key(source: SourceSettings) -> str:
    """Where a store keeps what the last whole walk through a source found: a source without documents."""
    return f"{source.key} walk"


class Walk:
    """A folder's connector whose cursor has two parts, and which can be asked about single files.

    The large part, every file with its time and size, is written by whole walks only, under a key of its own. The
    source's cursor names it and the files looked at since. The store forgets that cursor with the first change of a
    pass: one that is cut off is followed by one that begins anew, as it is when the two parts do not fit.
    """

    def __init__(self, store: Store, collection: str, source: SourceSettings, wall: Callable[[], float]) -> None:
        self._store = store
        self._place = (collection, source.key)
        self._walk = (collection, walk_key(source))
        self._folder = FolderConnector(source)
        self._wall = wall

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector. A whole walk."""
        journal = _read(cursor)
        before = cursor
        if journal is not None:
            before = await self._store.cursor(*self._walk)
            if before is None or _digest(before) != journal.walk:
                yield Mark("")
                journal = before = None
            elif journal.touched:
                known = await self._store.documents(*self._place)
                before = self._folder.spoil(before, journal.touched, known)
        async for change in self._folder.changes(before):
            if not isinstance(change, Mark):
                yield change
                continue
            walk = _digest(change.cursor)
            if journal is None or walk != journal.walk:
                await self._store.finish(*self._walk, change.cursor, self._wall())
            yield _mark(_Journal(walk))

    async def look(self, paths: Iterable[Path]) -> AsyncIterator[Change] | None:
        """What changed at these paths, then a Mark if any is a file of ours; None when that takes a whole walk."""
        journal = _read(await self._store.cursor(*self._place))
        found = None if journal is None else await asyncio.to_thread(self._folder.find, paths)
        return None if journal is None or found is None else self._told(journal, *found)

    async def _told(self, journal: _Journal, files: dict[str, int], gone: set[str]) -> AsyncIterator[Change]:
        if not files and not gone:
            return
        is_many = bool(gone) or any(name.lower().endswith(JSONL_SUFFIX) for name in files)
        known = await self._store.documents(*self._place) if is_many else frozenset[str]()
        async for change in self._folder.tell(files, gone, known):
            yield change
        yield _mark(_Journal(journal.walk, sorted({*journal.touched, *files})))


def _digest(cursor: str) -> str:
    return hashlib.sha256(cursor.encode()).hexdigest()[:24]


def _mark(journal: _Journal) -> Mark:
    return Mark(msgspec.json.encode(journal).decode())


def _read(cursor: str | None) -> _Journal | None:
    try:
        return msgspec.json.decode(cursor, type=_Journal) if cursor else None
    except msgspec.DecodeError:
        return None  # The cursor of a version that kept all in one: the connector reads it.
