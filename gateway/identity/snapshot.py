"""The keys on disk, for a process that is started while the database is away.

Digests only, and readable by the owner alone. The file says when the database last confirmed it; whoever loads it
keeps to the same age as if it had run all the time.
"""

import contextlib
import hmac
import os
from pathlib import Path

import msgspec

from gateway.core.values import Value
from gateway.identity.keys import Key

NAME = "keys.snapshot"
_TAG = 32
_ABOUT = b"switchyard keys snapshot 1"


class Snapshot(Value, frozen=True):
    """What was known. confirmed_at: Unix seconds. budgets: as the ledger keeps them, so that hard ones stay hard."""

    confirmed_at: float
    keys: tuple[Key, ...]
    budgets: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


def save_snapshot(data: Path, pepper: bytes, snapshot: Snapshot) -> None:
    """Writes it under the data folder: the old one or the new one, never a half. Raises OSError.

    Under a tag made with the pepper: nobody who writes to the folder but cannot read the pepper adds a key.
    """
    body = _encoder.encode(snapshot)
    fresh = data / f"{NAME}.{os.getpid()}"
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(hmac.digest(pepper, _ABOUT + body, "sha256") + body)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(data / NAME)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def load_snapshot(data: Path, pepper: bytes, now: float) -> Snapshot | None:
    """The file's keys; None when there is no file, or one that is not this gateway's own and whole.

    now: a file from a clock that ran ahead is taken as confirmed now, and not later.
    """
    try:
        text = (data / NAME).read_bytes()
    except OSError:
        return None
    tag, body = text[:_TAG], text[_TAG:]
    if not hmac.compare_digest(tag, hmac.digest(pepper, _ABOUT + body, "sha256")):
        return None
    try:
        found = _decoder.decode(body)
    except msgspec.DecodeError:
        return None
    return msgspec.structs.replace(found, confirmed_at=min(found.confirmed_at, now))
