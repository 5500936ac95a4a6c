"""A Git repository, through the system's own git."""

import asyncio
import base64
import contextlib
import fnmatch
import hashlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from gateway.core.errors import UnreadableDocument
from gateway.core.settings import environment
from gateway.knowledge.connectors import Change, Fault, Kind, Mark, Removal, Upsert
from gateway.knowledge.document import Document, is_readable, read_file, write_document
from gateway.knowledge.remote.fetch import FetchFailed, found_secret
from gateway.knowledge.remote.listing import MARK_SHARE
from gateway.knowledge.remote.shapes import attributes_of
from gateway.knowledge.settings import SourceSettings

GIT_SECONDS = 600.0
READ_SECONDS = 60.0
MOST_BYTES = 32 * 1024 * 1024
MOST_OUTPUT = 256 * 1024 * 1024
MARK_EACH = 200
# Nothing that git could be talked into running or reading beside the repository itself.
_PROTOCOLS = "https:http:ssh:file"
_SETTINGS = ("protocol.ext.allow=never", "core.hooksPath=/dev/null", "core.fsmonitor=false", "gc.auto=0")


class GitSettings(SourceSettings, frozen=True, kw_only=True):
    """branch: None for the default one. username, token: for https; token is a reference.

    mirrors: the folder for copies of repositories, one of the user's temporary files unless named.
    """

    every_seconds: float | None = 300.0
    branch: str | None = None
    username: str = "git"
    token: str | None = None
    mirrors: str = ""

    @property
    def key(self) -> str:
        """With the branch: two branches are two sources."""
        return f"{self.kind}:{self.path}" + (f"#{self.branch}" if self.branch else "")


class _Cursor(msgspec.Struct):
    """commit: all of it is told, but for `waiting`, which is told next. ids: paths that are taken.

    faults: what was wrong with some of them, told again by each pass until they are other files.
    """

    settings: str = ""
    commit: str = ""
    waiting: list[str] = []
    ids: list[str] = []
    faults: dict[str, str] = {}


class GitConnector:
    """Ids are paths in the repository. What changed is what git says differs between two commits.

    Links, submodules and hidden files are passed over; without `include` only files of a usual kind are read. The
    copy is bare and kept between passes; a copy that is lost or broken is made anew.
    """

    def __init__(self, settings: GitSettings) -> None:
        self._settings = settings
        name = hashlib.sha256(settings.key.encode()).hexdigest()[:16]
        folder = settings.mirrors or str(Path(tempfile.gettempdir()) / f"switchyard-git-{os.getuid()}")
        self._folder = Path(folder)
        self._copy = self._folder / f"{name}.git"

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        """See Connector."""
        known = _read_cursor(cursor)
        if known.settings != self._settings.fingerprint:
            known = _Cursor(self._settings.fingerprint, ids=known.ids)
        try:
            commit = await self._fetch()
            files = await self._tree(commit)
            touched = await self._touched(known.commit, commit, files) | set(known.waiting)
            async for change in self._told_of(known, commit, files, touched):
                yield change
        except FetchFailed as fault:
            yield Fault(f"{self._settings.key}: {fault.line}", "*")

    async def _told_of(
        self, known: _Cursor, commit: str, files: dict[str, tuple[str, int]], touched: set[str]
    ) -> AsyncIterator[Change]:
        ids = dict.fromkeys(known.ids)
        for path in [path for path in ids if path not in files]:
            del ids[path]
            yield Removal(path)
        waiting = [path for path in sorted(files) if path in touched or path not in ids]
        known.commit = commit
        known.faults = {path: line for path, line in known.faults.items() if path in ids and path not in waiting}
        for path, line in known.faults.items():
            yield Fault(line, path)
        for number, path in enumerate(waiting, 1):
            change = await self._read(path, *files[path])
            if isinstance(change, Fault):
                known.faults[path] = change.line
            yield change
            ids[path] = None
            if number % max(MARK_EACH, len(waiting) // MARK_SHARE) == 0:
                known.waiting, known.ids = waiting[number:], list(ids)
                yield Mark(msgspec.json.encode(known).decode())
        known.waiting, known.ids = [], list(ids)
        yield Mark(msgspec.json.encode(known).decode())

    async def _fetch(self) -> str:
        """Brings the copy up to date; the commit of the branch. Raises FetchFailed."""
        branch = self._settings.branch or "HEAD"
        source = f"refs/heads/{branch}" if self._settings.branch else "HEAD"
        for attempt in (1, 2):
            try:
                _own_folder(self._folder)
                if not (self._copy / "HEAD").exists():
                    await self._git("init", "--bare", "--quiet", str(self._copy), at=None)
                spec = f"+{source}:refs/heads/kept"
                await self._git("fetch", "--quiet", "--no-tags", "--force", "--", self._settings.path, spec)
                return (await self._git("rev-parse", "refs/heads/kept^{commit}")).decode().strip()
            except OSError as fault:
                raise FetchFailed(f"{self._folder} cannot be written ({fault.strerror}).") from None
            except FetchFailed:
                if attempt == 2 or not self._copy.exists() or await self._is_sound():
                    raise
                await asyncio.to_thread(_remove, self._copy)
        raise AssertionError("the second try returned or raised")

    async def _is_sound(self) -> bool:
        try:
            await self._git("rev-parse", "--git-dir")
        except FetchFailed:
            return False
        return True

    async def _tree(self, commit: str) -> dict[str, tuple[str, int]]:
        """The files that are taken, path -> blob and size."""
        listed = await self._git("ls-tree", "-r", "-l", "-z", "--full-tree", commit)
        files = {}
        for entry in listed.decode("utf-8", errors="surrogateescape").split("\0"):
            head, tab, path = entry.partition("\t")
            mode, kind, blob, size = head.split() if tab else ("", "", "", "")
            if kind == "blob" and mode in {"100644", "100755"} and self._is_wanted(path):
                files[path] = blob, int(size)
        return files

    async def _touched(self, old: str, new: str, files: dict[str, tuple[str, int]]) -> set[str]:
        """Paths whose content differs; all, when the old commit is not known any more (a rewritten history)."""
        if old == new:
            return set()
        if old:
            with contextlib.suppress(FetchFailed):
                told = await self._git("diff", "--name-only", "--no-renames", "-z", "--no-ext-diff", old, new)
                return set(told.decode("utf-8", errors="surrogateescape").split("\0"))
        return set(files)

    def _is_wanted(self, path: str) -> bool:
        if any(part.startswith(".") for part in path.split("/")) or _is_surrogate(path):
            return False
        include = self._settings.include
        if not is_readable(path, is_named=bool(include)):
            return False
        return not include or any(fnmatch.fnmatchcase(path, glob) for glob in include)

    async def _read(self, path: str, blob: str, size: int) -> Change:
        where = f"{self._settings.key}/{path}"
        try:
            if size > MOST_BYTES:
                return Fault(f"{where}: {size} bytes; at most {MOST_BYTES} are read.", path)
            data = await self._git("cat-file", "blob", blob)
            document = await asyncio.to_thread(read_file, path, data)
        except UnreadableDocument as fault:
            return Fault(f"{where}: {fault}", path)
        return Upsert(self._told(document))

    def _told(self, document: Document) -> Document:
        folder, _, name = document.id.rpartition("/")
        told = attributes_of(source="git", branch=self._settings.branch, section=folder)
        return write_document(document.id, document.title, document.text, document.url, attributes=told, filename=name)

    async def _git(self, *command: str, at: str | None = "copy") -> bytes:
        """What git wrote. Raises FetchFailed with its last line when it fails, or takes too long or too much room."""
        settings = [part for one in _SETTINGS for part in ("-c", one)]
        place = ["--git-dir", str(self._copy)] if at else []
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *settings,
                *place,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise FetchFailed("there is no git on this machine; sources of kind `git` need it.") from None
        try:
            async with asyncio.timeout(GIT_SECONDS if command[0] == "fetch" else READ_SECONDS):
                written, said = await _collect(process)
        except TimeoutError:
            raise FetchFailed(f"git {command[0]} was not done in time.") from None
        finally:
            _end(process)
            await process.wait()
        if process.returncode != 0:
            last = said.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
            raise FetchFailed(f"git {command[0]} failed: {last[0][:300]}")
        return written

    def _environment(self) -> dict[str, str]:
        """What git may know: no terminal to ask on, no configuration of a user, the token in no argument."""
        kept = {key: value for key, value in environment().items() if key in {"PATH", "HOME", "SSH_AUTH_SOCK", "LANG"}}
        made = {
            **kept,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=20",
            "GIT_HTTP_LOW_SPEED_LIMIT": "100",
            "GIT_HTTP_LOW_SPEED_TIME": "60",
            "LC_ALL": "C",
        }
        if self._settings.token is not None and self._settings.path.startswith(("http://", "https://")):
            pair = f"{self._settings.username}:{found_secret(self._settings.token, 'token')}"
            header = "Authorization: Basic " + base64.b64encode(pair.encode()).decode()
            made |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{self._settings.path}.extraHeader",
                "GIT_CONFIG_VALUE_0": header,
            }
        return made


async def _collect(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    if process.stdout is None or process.stderr is None:
        raise AssertionError("both were asked for")
    said = asyncio.create_task(process.stderr.read(65536))
    try:
        written = bytearray()
        while part := await process.stdout.read(1 << 18):
            written += part
            if len(written) > MOST_OUTPUT:
                raise FetchFailed(f"git wrote more than {MOST_OUTPUT} bytes.")
        await process.wait()
        return bytes(written), await said
    finally:
        said.cancel()


def _end(process: asyncio.subprocess.Process) -> None:
    """Ends git and what it started, which share a session."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _own_folder(folder: Path) -> None:
    """Makes the folder of copies, for this user alone. Raises FetchFailed for one that another may write to.

    A copy's configuration names programs that git runs, and the usual place is one where everybody may make folders.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stat = folder.lstat()
    if folder.is_symlink() or stat.st_uid != os.getuid() or stat.st_mode & 0o022:
        raise FetchFailed(f"{folder} is not this user's alone; git would run what others write there.")


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), key=lambda each: len(each.parts), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    folder.rmdir()


def _is_surrogate(path: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in path)


def _read_cursor(cursor: str | None) -> _Cursor:
    try:
        return msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor()
    except msgspec.DecodeError:
        return _Cursor()


CONNECTOR = Kind(GitSettings, GitConnector)
