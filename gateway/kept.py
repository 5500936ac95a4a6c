"""Policy files on disk until the database has them: a decision whose policy is lost can never be explained."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger("gateway.policy")
Keep = Callable[[str, Mapping[str, bytes]], Awaitable[None]]


class Unkept:
    """A folder of policies that went live and are not in the database yet, a file each, named by their hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, policy_hash: str, files: Mapping[str, bytes]) -> None:
        """Writes a policy down, before the first decision under it. Raises OSError when the disk takes nothing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._folder / f"{policy_hash}.partial"
        partial.write_bytes(msgspec.msgpack.encode(dict(files)))
        partial.replace(self._folder / f"{policy_hash}.policy")

    async def hand_over(self, keep: Keep) -> None:
        """Has all of them kept, in the order of their names; what the database does not take stays."""
        for path in sorted(self._folder.glob("*.policy")):
            try:
                await keep(path.stem, msgspec.msgpack.decode(path.read_bytes(), type=dict[str, bytes]))
            except (SQLAlchemyError, OSError) as fault:
                log.warning("policy_not_kept", extra={"fields": {"hash": path.stem, "error": type(fault).__name__}})
                return
            # Another worker may have handed over the same.
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
