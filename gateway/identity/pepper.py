"""The secret that keys are hashed under."""

import contextlib
import os
import secrets
from pathlib import Path

from gateway.core.errors import BadConfiguration

LEAST = 16


def read_pepper(data: Path, given: str | None) -> bytes:
    """The pepper: GATEWAY_KEY_PEPPER, else the file `pepper` under the data folder, made on first use.

    Replicas that share a database must share it. Raises BadConfiguration when it is short or unreadable.
    """
    if given is not None:
        if len(given) < LEAST:
            raise BadConfiguration([f"GATEWAY_KEY_PEPPER is short; it must have {LEAST} characters or more."])
        return given.encode()
    path = data / "pepper"
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            fresh = data / f"pepper.{os.getpid()}"
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32))
            # A link is made whole or not at all: of two processes that start at once, the second reads the first's.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(fresh)
            fresh.unlink()
        found = path.read_text(encoding="ascii").strip()
    except OSError as fault:
        raise BadConfiguration([f"{path}: {fault.strerror}; the data folder must be writable."]) from None
    if len(found) < LEAST:
        raise BadConfiguration([f"{path}: too short; restore it from a backup, or no key will work."])
    return found.encode()
