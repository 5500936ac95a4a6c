"""Who is known: keys, teams and holders of roles, in memory and in step with the database.

While the database is away, what is known goes on being good for the age that the settings state; a process that
starts meanwhile begins with what another left on disk.
"""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from gateway.core.clock import Clock
from gateway.core.settings import Settings
from gateway.db.engine import Database
from gateway.identity.access.holders import Holders
from gateway.identity.access.store import AccessStore
from gateway.identity.keys import Key, KeyRing
from gateway.identity.pepper import read_pepper
from gateway.identity.snapshot import Snapshot, load_snapshot, save_snapshot
from gateway.identity.store import IdentityStore, Team

POLL_SECONDS = 0.4
# A database that hangs is one that is away: a connection that never answers must not end the watching.
ANSWER_SECONDS = 5.0
SAVED_SECONDS = 60.0

log = logging.getLogger("gateway.known")


class Known:
    """The tables of one process. teams_changed: told all teams whenever something has changed.

    budgets: what is left on disk beside the keys, see `recall`. Raises BadConfiguration for a pepper that cannot be
    used.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        clock: Clock,
        teams_changed: Callable[[list[Team]], None],
        budgets: Callable[[], bytes] = bytes,
    ) -> None:
        self.pepper = read_pepper(settings.data, settings.pepper)
        self.identity = IdentityStore(database, self.pepper)
        self.access = AccessStore(database, self.pepper)
        self.keys = KeyRing(self.pepper, settings.keys_max_age_seconds)
        self.holders = Holders(self.pepper, settings.keys_max_age_seconds)
        self._data = settings.data
        self._max_age = settings.keys_max_age_seconds
        self._clock = clock
        self._teams_changed = teams_changed
        self._budgets = budgets
        self._version = -1
        self._held: tuple[Key, ...] = ()
        self._saved_at = 0.0

    async def load(self) -> None:
        """Reads everything anew. Raises what the database raises."""
        asked_at = self._clock.wall()
        version, keys, teams = await self.identity.load()
        role_keys, members = await self.access.load()
        # No await between these: no call sees half of a change.
        self.keys.replace(keys, asked_at)
        self.holders.replace(role_keys, members, asked_at)
        self._teams_changed(teams)
        self._version, self._held = version, tuple(keys)
        await self._save()

    def recall(self) -> bytes | None:
        """Takes over what was left on disk, for a start while the database is away; gives what `budgets` had said.

        None when nothing was left.
        """
        found = load_snapshot(self._data, self.pepper, self._clock.wall())
        if found is None:
            return None
        self.keys.replace(found.keys, found.confirmed_at)
        self._held = found.keys
        return found.budgets

    def can_recall(self) -> bool:
        """Whether something was left on disk that is not too old."""
        now = self._clock.wall()
        found = load_snapshot(self._data, self.pepper, now)
        return found is not None and now - found.confirmed_at < self._max_age

    async def watch(self) -> None:
        """Follows the database for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._look()
            except (SQLAlchemyError, OSError) as fault:
                # Known keys go on working; who revokes a key while the database is away cannot be heard.
                log.warning("identity_unreadable", extra={"fields": {"error": type(fault).__name__}})

    async def _look(self) -> None:
        asked_at = self._clock.wall()
        if await self.identity.version() != self._version:
            await self.load()
            return
        self.keys.confirm(asked_at)
        self.holders.confirm(asked_at)
        if asked_at - self._saved_at > SAVED_SECONDS:
            await self._save()

    async def _save(self) -> None:
        """Leaves what is known on disk. A disk that takes nothing is no reason to know less."""
        self._saved_at = self.keys.confirmed_at
        snapshot = Snapshot(self.keys.confirmed_at, self._held, self._budgets())
        try:
            await asyncio.to_thread(save_snapshot, self._data, self.pepper, snapshot)
        except OSError as fault:
            log.warning("keys_not_saved", extra={"fields": {"error": str(fault)}})
