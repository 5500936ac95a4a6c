"""A folder of files, searched through to its depth."""

import asyncio
import fnmatch
import os
import time
from collections.abc import AsyncIterator, Container, Iterable, Mapping
from pathlib import Path, PurePosixPath
from stat import S_ISDIR

import msgspec

from gateway.core.errors import UnreadableDocument
from gateway.knowledge.connectors import SETTLED_NS, Change, Fault, Kind, Mark, Removal, Upsert
from gateway.knowledge.document import is_readable, read_file, read_jsonl
from gateway.knowledge.settings import SourceSettings

JSONL_SUFFIX = ".jsonl"
MOST_FAULTS = 20
MOST_BYTES = 32 * 1024 * 1024
_GONE = (FileNotFoundError, NotADirectoryError)


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

    def find(self, paths: Iterable[Path]) -> tuple[dict[str, int], set[str]] | None:
        """The sizes of files that these paths name, by id, and the ids that are gone, a folder's among them.

        None when a whole walk is needed to say. A link beside a file that is saved is seen by whole walks only.
        """
        files: dict[str, int] = {}
        gone: set[str] = set()
        try:
            root = self._root.resolve(strict=True)
            for path in paths:
                if path == root:
                    return None
                if path.is_relative_to(root):
                    self._find(path, root, files, gone)
        except OSError:
            return None
        return files, gone

    def _find(self, path: Path, root: Path, files: dict[str, int], gone: set[str]) -> None:
        inside = path.relative_to(root)
        if any(part.startswith(".") for part in inside.parts) or path.parent.resolve() != path.parent:
            return  # Hidden, or below a linked folder.
        identity = inside.as_posix()
        try:
            mode = path.lstat().st_mode
            size = path.stat().st_size
        except _GONE:
            gone.add(identity)
            return
        if S_ISDIR(mode):
            below, faults = self._scan(path)
            if faults:
                raise PermissionError(faults[0])
            files.update((name, file.size) for name, file in below.items())
        elif self._wanted(identity) and not path.is_dir():
            if _stays_inside(path, root):
                files[identity] = size
            else:
                gone.add(identity)

    async def tell(self, files: Mapping[str, int], gone: set[str], known: frozenset[str]) -> AsyncIterator[Change]:
        """What `find` found, as changes. known: the source's ids, when something is gone or is a JSONL file."""
        for identity in sorted(known) if gone else ():
            file = _file_of(identity)
            if not gone.isdisjoint((identity, file, *(parent.as_posix() for parent in PurePosixPath(file).parents))):
                yield Removal(identity)
        ids = _ids_by_file(known, files)
        for path, size in sorted(files.items()):
            old = _File(0, 0, ids[path]) if path in ids else None
            for change in await asyncio.to_thread(self._read, path, old, _File(0, size)):
                yield change

    def spoil(self, cursor: str, paths: Iterable[str], known: frozenset[str]) -> str:
        """The cursor, with nothing believed of these files but that they may have had what is known of them."""
        files = _read_cursor(cursor)
        ids = _ids_by_file(known, set(paths))
        files.update((path, _File(0, 0, ids.get(path, []))) for path in paths)
        return msgspec.json.encode(files).decode()

    def _scan(self, start: Path | None = None) -> tuple[_Files, list[str]]:
        """All files of a known kind below the root or a folder in it, and what could not be looked into."""
        found: _Files = {}
        faults: list[str] = []
        root = self._root.resolve(strict=True)
        next(root.iterdir(), None)  # Raises here what os.walk would take for an empty folder.
        recent = time.time_ns() - SETTLED_NS

        def refused(fault: OSError) -> None:
            faults.append(f"{fault.filename}: cannot be read ({fault.strerror}); its documents are kept.")

        for folder, names, files in os.walk(start or root, onerror=refused):
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


def _file_of(identity: str) -> str:
    """The file that a document stands in; a `#` may also be a part of a file's name."""
    end = identity.lower().find(f"{JSONL_SUFFIX}#")
    return identity if end < 0 else identity[: end + len(JSONL_SUFFIX)]


def _ids_by_file(known: frozenset[str], files: Container[str]) -> dict[str, list[str]]:
    """The documents of JSONL files among these."""
    found: dict[str, list[str]] = {}
    for identity in sorted(known):
        file = _file_of(identity)
        if file != identity and file in files:
            found.setdefault(file, []).append(identity)
    return found


def _read_cursor(cursor: str | None) -> _Files:
    try:
        return msgspec.json.decode(cursor, type=_Files) if cursor else {}
    except msgspec.DecodeError:
        return {}


CONNECTOR = Kind(SourceSettings, FolderConnector)
