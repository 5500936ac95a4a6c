"""`events.jsonl`: what happened in a job, numbered by line, each written once whatever is killed when."""

import os
from pathlib import Path

import msgspec

from gateway.core.values import Value
from gateway.tuning.contract import Happened


class _Line(Value, frozen=True):
    key: str
    event: Happened


_decode = msgspec.json.Decoder(_Line).decode


class EventLog:
    """The writer's side; there is one writer, who holds the folder's lock.

    A line that a crash cut short is taken away first. What has been told under a key is not told again: a worker
    that goes on from a checkpoint passes once more over steps that the one before it had told.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        self._file.seek(0)
        whole = self._file.read()
        kept = whole.rfind(b"\n") + 1
        self._file.truncate(kept)
        self._keys = {_decode(line).key for line in whole[:kept].splitlines()}

    def __len__(self) -> int:
        return len(self._keys)

    def tell(self, key: str, event: Happened) -> bool:
        """Appends, and is on disk afterwards; the number is set here. False when the key was told before."""
        if key in self._keys:
            return False
        numbered = msgspec.structs.replace(event, number=len(self._keys))
        self._file.write(msgspec.json.encode(_Line(key, numbered)) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._keys.add(key)
        return True

    def close(self) -> None:
        """Ends writing."""
        self._file.close()


def read_events(path: Path, since: int) -> tuple[Happened, ...]:
    """Those with a number of at least `since`; a line that is still being written is not yet there."""
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        return ()
    lines = whole[: whole.rfind(b"\n") + 1].splitlines()
    return tuple(_decode(line).event for line in lines[since:])
