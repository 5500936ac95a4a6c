"""A folder of files, searched through to its depth."""

import asyncio
import fnmatch
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from gateway.core.errors import UnreadableDocument
from gateway.knowledge.connectors import SETTLED_NS, Change, Fault, Kind, Mark, Removal, Upsert
from gateway.knowledge.document import is_readable, read_file, read_jsonl
from gateway.knowledge.settings import SourceSettings

JSONL_SUFFIX = ".jsonl"
MOST_FAULTS = 20
MOST_BYTES = 32 * 1024 * 1024


class _File(msgspec.Struct, array_like=True):
    """mtime_ns: 0 when it says nothing. ids: the documents of a JSONL file; any other file is one by itself.

    faults: what was wrong with it, told again by each pass until it is another file.
    """

    mtime_ns: int
    size: int
    ids: list[str] = []
    faults: list[str] = []


_Files = dict[str, _File]


class FolderConnector:
    """Reads a file anew when its time or size changed. Ids are paths below the folder, `a/b.md`.

    Without `include` only files of a usual kind are read; with it also source code and data that it names. A line
    of a JSONL file is `a/b.jsonl#id`. Hidden files and folders are passed over, and links that lead out of the
    folder. A folder that is not there is a fault, not an empty folder.
    """

    def __init__(self, source: SourceSettings) -> None:
        self._root = Path(source.path)
        self._include = source.include

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector. Removals first: a moved file is never there twice."""
        before = _read_cursor(cursor)
        try:
            now, faults = await asyncio.to_thread(self._scan)
        except OSError as fault:
            yield Fault(f"{self._root}: cannot be read ({fault.strerror}); its documents are kept.", "*")
            return
        for line in faults:
            yield Fault(line, "*")
        for path in [] if faults else sorted(before.keys() - now.keys()):
            for identity in before[path].ids or [path]:
                yield Removal(identity)
        after: _Files = {path: before[path] for path in before.keys() - now.keys()} if faults else {}
        for path in sorted(now):
            old, new = before.get(path), now[path]
            if old is not None and old.mtime_ns and (old.mtime_ns, old.size) == (new.mtime_ns, new.size):
                after[path] = old
                for line in old.faults:
                    yield Fault(line, f"{path}*")
                continue
            for change in await asyncio.to_thread(self._read, path, old, new):
                if isinstance(change, Fault) and len(new.faults) < MOST_FAULTS:
                    new.faults.append(change.line)
                yield change
            after[path] = new
        yield Mark(msgspec.json.encode(after).decode())

    def _scan(self) -> tuple[_Files, list[str]]:
        """All files of a known kind below the root, and what could not be looked into."""
        found: _Files = {}
        faults: list[str] = []
        root = self._root.resolve(strict=True)
        next(root.iterdir(), None)  # Raises here what os.walk would take for an empty folder.
        recent = time.time_ns() - SETTLED_NS

        def refused(fault: OSError) -> None:
            faults.append(f"{fault.filename}: cannot be read ({fault.strerror}); its documents are kept.")

        for folder, names, files in os.walk(root, onerror=refused):
            names[:] = [name for name in names if not name.startswith(".")]
            for name in files:
                if name.startswith("."):
                    continue
                path = Path(folder, name)
                identity = path.relative_to(root).as_posix()
                if self._wanted(identity) and _stays_inside(path, root):
                    _note(found, identity, path, recent)
        return found, faults

    def _wanted(self, identity: str) -> bool:
        if not is_readable(identity, is_named=bool(self._include)):
            return False
        return not self._include or any(fnmatch.fnmatchcase(identity, glob) for glob in self._include)

    def _read(self, path: str, old: _File | None, new: _File) -> list[Change]:
        """What a file now holds. Fills `new.ids`; makes `new` look unread when it could not be read."""
        place = self._root / path
        try:
            if new.size > MOST_BYTES and not path.lower().endswith(JSONL_SUFFIX):
                return [Fault(f"{place}: {new.size} bytes; at most {MOST_BYTES} are read.", path)]
            data = place.read_bytes()
        except OSError as fault:
            new.mtime_ns, new.ids = 0, old.ids if old else []
            return [Fault(f"{place}: cannot be read ({fault.strerror}); it is tried again.", f"{path}*")]
        if not path.lower().endswith(JSONL_SUFFIX):
            try:
                return [Upsert(read_file(path, data))]
            except UnreadableDocument as fault:
                return [Fault(f"{place}: {fault}", path)]
        return _read_lines(str(place), path, data, old, new)


def _read_lines(where: str, path: str, data: bytes, old: _File | None, new: _File) -> list[Change]:
    changes: list[Change] = []
    seen: dict[str, None] = {}
    at_fault = False
    for found in read_jsonl(where, data.splitlines(), prefix=f"{path}#"):
        if isinstance(found, str):
            at_fault = True
            changes.append(Fault(found, f"{path}#*"))
        elif found.id not in seen:
            seen[found.id] = None
            changes.append(Upsert(found))
        else:
            changes.append(Fault(f"{where}: {found.id!r} stands there twice; the first is kept."))
    gone = [identity for identity in (old.ids if old else []) if identity not in seen]
    if not at_fault:
        changes = [*(Removal(identity) for identity in gone), *changes]
    new.ids = [*seen, *(gone if at_fault else [])]
    return changes


def _note(found: _Files, identity: str, path: Path, recent: int) -> None:
    try:
        stat = path.stat()
    except OSError:  # Gone since it was listed.
        return
    # 0, not known: the next pass reads the file again, and the store sees that it is the same.
    found[identity] = _File(stat.st_mtime_ns if stat.st_mtime_ns < recent else 0, stat.st_size)


def _stays_inside(path: Path, root: Path) -> bool:
    return not path.is_symlink() or path.resolve().is_relative_to(root)


def _read_cursor(cursor: str | None) -> _Files:
    try:
        return msgspec.json.decode(cursor, type=_Files) if cursor else {}
    except msgspec.DecodeError:
        return {}


CONNECTOR = Kind(SourceSettings, FolderConnector)
