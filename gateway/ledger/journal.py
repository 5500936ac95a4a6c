"""The journal: an append-only file per process, written without an await, made durable in groups."""

import asyncio
import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

from gateway.core.errors import AccountingUnavailable
from gateway.core.ids import new_id
from gateway.core.settings import Durability
from gateway.ledger.records import Final, Intent, Record, Void, frame

SEGMENT_BYTES = 16 * 1024 * 1024
# Power loss may cost what was written in this time; a killed process loses nothing.
SYNC_SECONDS = 0.05
UNAVAILABLE = "Usage cannot be recorded at the moment (the journal is not writable), so no billable call is made."


class Journal:
    """Appends records. Everything here is synchronous: a cancelled task cannot stop between two bytes.

    Files are `<process>-<number>.journal` in `folder`; `<process>.lock` is held as long as the process lives,
    so that another one can tell whose journals are orphans. durability: what `ledger.durable` waits for.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES, durability: Durability = "journal") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.durability = durability
        self.folder = folder
        self.process = new_id("j")
        self._segment_bytes = segment_bytes
        # Locked before it has its name: nobody can find it unlocked while this process lives.
        fresh = folder / f"{self.process}.new"
        self._lock = os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(folder / f"{self.process}.lock")
        self.number = 0
        self.offset = 0
        # Told of each segment as soon as it is there, before anything in it can be shipped and the file be gone.
        self.opened: Callable[[Path], None] | None = None
        self._file = self._open(0)
        self._open_intents: dict[str, int] = {}
        self._unwritten: list[tuple[str, bytes]] = []
        self.finished = 0
        self._dirty = threading.Event()
        self._to_sync: list[asyncio.Future[None]] = []
        self._stopping = False
        self._syncer = threading.Thread(target=self._sync_groups, name="journal-sync", daemon=True)
        self._syncer.start()

    def path(self, number: int) -> Path:
        """The file of one segment."""
        return self.folder / f"{self.process}-{number:06d}.journal"

    def append(self, record: Intent | Void) -> None:
        """Writes a record, or raises AccountingUnavailable (503) and leaves the file as it was."""
        self._flush_unwritten()
        self._write(frame(record))
        if isinstance(record, Intent):
            self._open_intents[record.event.id] = self.number
        else:
            self._open_intents.pop(record.event_id, None)

    def note(self, record: Record) -> None:
        """Writes a record if it can be written; losing it costs accuracy and no row."""
        with contextlib.suppress(AccountingUnavailable):
            self._write(frame(record))
            self.finished += isinstance(record, Final)

    def finish(self, record: Final) -> None:
        """Writes an attempt's end. When the disk refuses, the end is kept and written as soon as it can be.

        The call was made and must be booked; its intent is on disk already should the process die now.
        """
        framed = frame(record)
        self.finished += 1
        try:
            self._flush_unwritten()
            self._write(framed)
            self._open_intents.pop(record.event.id, None)
        except AccountingUnavailable:
            self._unwritten.append((record.event.id, framed))

    @property
    def pending(self) -> int:
        """Ends that could not be written yet."""
        return len(self._unwritten)

    def heal(self) -> bool:
        """Tries again to write what could not be written; True when nothing is left over."""
        with contextlib.suppress(AccountingUnavailable):
            self._flush_unwritten()
        return not self._unwritten

    def _flush_unwritten(self) -> None:
        while self._unwritten:
            event_id, framed = self._unwritten[0]
            self._write(framed)
            self._open_intents.pop(event_id, None)
            del self._unwritten[0]

    def settled(self, number: int) -> bool:
        """Whether a segment is closed and every intent in it has its end in some segment."""
        return number < self.number and number not in self._open_intents.values()

    def _write(self, framed: bytes) -> None:
        if self.offset + len(framed) > self._segment_bytes and self.offset:
            self._rotate()
        try:
            written = os.write(self._file, framed)
        except OSError as fault:
            raise AccountingUnavailable(UNAVAILABLE, retry_after_seconds=1) from fault
        if written != len(framed):
            # A disk that fills up takes the first part of a write and refuses the rest.
            try:
                os.ftruncate(self._file, self.offset)
            except OSError:
                # The torn record stays and would hide what comes after it: what comes goes into a new file.
                self.offset = self._segment_bytes
            raise AccountingUnavailable(UNAVAILABLE, retry_after_seconds=1)
        self.offset += written
        self._dirty.set()

    def _rotate(self) -> None:
        try:
            fresh = self._open(self.number + 1)
        except OSError as fault:
            raise AccountingUnavailable(UNAVAILABLE, retry_after_seconds=1) from fault
        with contextlib.suppress(OSError):
            os.fdatasync(self._file)
        os.close(self._file)
        self._file, self.number, self.offset = fresh, self.number + 1, 0
        if self.opened is not None:
            self.opened(self.path(self.number))

    def _open(self, number: int) -> int:
        return os.open(self.path(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def synced(self) -> "asyncio.Future[None]":
        """Done when all that is written up to now is on disk; raises the disk's OSError. Groups share one sync."""
        future = asyncio.get_running_loop().create_future()
        self._to_sync.append(future)
        self._dirty.set()
        return future

    def _sync_groups(self) -> None:
        while not self._stopping:
            self._dirty.wait()
            if self._stopping:
                return
            self._dirty.clear()
            waiting, self._to_sync = self._to_sync, []
            fault: OSError | None = None
            try:
                os.fdatasync(self._file)
            except OSError as found:
                # A descriptor that was rotated away meanwhile was synced by the rotation.
                fault = None if found.errno == errno.EBADF else found
            for future in waiting:
                future.get_loop().call_soon_threadsafe(_tell, future, fault)
            if not waiting:
                threading.Event().wait(SYNC_SECONDS)

    @property
    def all_settled(self) -> bool:
        """Whether every intent has its end, and every end is written."""
        return not self._open_intents and not self._unwritten

    def remove(self) -> None:
        """Deletes the files of a closed journal whose every record is in the database."""
        for path in (*self.folder.glob(f"{self.process}-*.journal"), self.folder / f"{self.process}.lock"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Syncs and closes. The files stay until they are shipped."""
        self._stopping = True
        self._dirty.set()
        self._syncer.join(timeout=5)
        with contextlib.suppress(OSError):
            os.fdatasync(self._file)
        os.close(self._file)
        os.close(self._lock)


def _tell(future: "asyncio.Future[None]", fault: OSError | None) -> None:
    if future.done():
        return
    if fault is None:
        future.set_result(None)
    else:
        future.set_exception(fault)
