"""Teams and keys in the database."""

import contextlib
import re
import time
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.call import Principal
from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.db.store import bump, version_of
from gateway.identity.keys import SHOWN, Key, digest_of, new_key
from gateway.identity.tables import ApiKeyRow, TeamRow

# As policy files name teams.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SUBJECT = "identity"


class Team(Value, frozen=True):
    """A team as it is shown."""

    name: str
    title: str
    monthly_budget_nano_usd: int | None
    created_at: float


class KeyInfo(Value, frozen=True):
    """A key as it is shown: never the key."""

    id: str
    team: str
    name: str
    prefix: str
    debug: bool
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class IdentityStore:
    """Reads and changes teams and keys. Every change is noticed by all processes within a second."""

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper

    async def version(self) -> int:
        """A number that grows with every change."""
        async with self._database.session() as session:
            return await version_of(session, SUBJECT)

    async def load(self) -> tuple[int, list[Key], list[Team]]:
        """The version, the live keys and the teams, from one transaction."""
        async with self._database.session() as session:
            version = await version_of(session, SUBJECT)
            rows = (await session.scalars(_live_keys())).all()
            teams = [_team(row) for row in (await session.scalars(select(TeamRow))).all()]
        return version, [_key(row) for row in rows], teams

    async def teams(self) -> list[Team]:
        """All teams by name."""
        async with self._database.session() as session:
            rows = (await session.scalars(select(TeamRow))).all()
        return sorted((_team(row) for row in rows), key=lambda team: team.name)

    async def team(self, name: str) -> Team:
        """One team. Raises NotFound."""
        async with self._database.session() as session:
            row = await session.get(TeamRow, name)
        if row is None:
            raise NotFound(f"There is no team {name!r}.")
        return _team(row)

    async def create_team(self, name: str, title: str = "", budget_nano_usd: int | None = None) -> Team:
        """A new team. Raises Conflict when the name is taken."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} is no team name; it takes letters, digits, '.', '_' and '-'.", param="name")
        row = TeamRow(name=name, title=title, monthly_budget_nano_usd=budget_nano_usd, created_at=time.time())
        try:
            async with self._database.session() as session:
                session.add(row)
                await bump(session, SUBJECT)
        except IntegrityError:
            raise Conflict(f"Team {name!r} exists already.") from None
        return _team(row)

    async def declare_team(self, name: str, title: str, budget_nano_usd: int | None) -> None:
        """Makes a team what teams.yaml says, whether it existed or not."""
        async with self._database.session() as session:
            row = await session.get(TeamRow, name)
            if row is not None:
                if (row.title, row.monthly_budget_nano_usd) != (title, budget_nano_usd):
                    row.title, row.monthly_budget_nano_usd = title, budget_nano_usd
                    await bump(session, SUBJECT)
                return
        # All processes read the same file at the same moment: another may have made the team by now, as it says.
        with contextlib.suppress(Conflict):
            await self.create_team(name, title, budget_nano_usd)

    async def set_budget(self, name: str, budget_nano_usd: int | None) -> Team:
        """Sets or (None) lifts a team's monthly budget. Raises NotFound."""
        async with self._database.session() as session:
            row = await session.get(TeamRow, name)
            if row is None:
                raise NotFound(f"There is no team {name!r}.")
            row.monthly_budget_nano_usd = budget_nano_usd
            await bump(session, SUBJECT)
            return _team(row)

    async def create_key(
        self, team: str, name: str, *, expires_at: float | None = None, debug: bool = False
    ) -> tuple[str, KeyInfo]:
        """A new key: its text, shown this once, and what is kept. Raises NotFound for an unknown team."""
        async with self._database.session() as session:
            return await self._add_key(session, team, name, expires_at, debug)

    async def _add_key(
        self,
        session: AsyncSession,
        team: str,
        name: str,
        expires_at: float | None,
        debug: bool,  # noqa: FBT001
    ) -> tuple[str, KeyInfo]:
        if await session.get(TeamRow, team) is None:
            raise NotFound(f"There is no team {team!r}; create it with `gateway teams create {team}`.")
        key = new_key()
        row = ApiKeyRow(
            id=new_id("key"),
            team=team,
            name=name,
            prefix=key[:SHOWN],
            digest=digest_of(self._pepper, key).hex(),
            debug=debug,
            created_at=time.time(),
            expires_at=expires_at,
        )
        session.add(row)
        await bump(session, SUBJECT)
        return key, _info(row)

    async def keys(self, team: str | None = None) -> list[KeyInfo]:
        """Keys, newest last; of one team or of all."""
        async with self._database.session() as session:
            rows = (await session.scalars(select(ApiKeyRow))).all()
        shown = [_info(row) for row in rows if team is None or row.team == team]
        return sorted(shown, key=lambda info: (info.created_at, info.id))

    async def revoke_key(self, key_id: str) -> KeyInfo:
        """Ends a key, named by its id or its visible prefix. Raises NotFound."""
        async with self._database.session() as session:
            row = await self._find(session, key_id)
            row.revoked_at = row.revoked_at or time.time()
            await bump(session, SUBJECT)
            return _info(row)

    async def rotate_key(self, key_id: str, overlap_seconds: float = 0) -> tuple[str, KeyInfo]:
        """A new key in place of an old one, which lives on for the overlap. Raises NotFound."""
        async with self._database.session() as session:
            old = await self._find(session, key_id)
            if old.revoked_at is not None:
                raise Conflict(f"Key {old.prefix}... is revoked; create a new one.")
            ends = time.time() + overlap_seconds
            made = await self._add_key(session, old.team, old.name, None, old.debug)
            old.expires_at = min(ends, old.expires_at) if old.expires_at is not None else ends
            return made

    async def _find(self, session: AsyncSession, key_id: str) -> ApiKeyRow:
        row = await session.get(ApiKeyRow, key_id)
        if row is None:
            rows = (await session.scalars(_with_prefix(key_id))).all()
            row = rows[0] if len(rows) == 1 else None
        if row is None:
            raise NotFound(f"There is no single key {key_id!r}; `gateway keys list` shows ids and prefixes.")
        return row


def _live_keys() -> Any:
    return select(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None))  # type: ignore[union-attr]  # a column at run time


def _with_prefix(prefix: str) -> Any:
    return select(ApiKeyRow).where(ApiKeyRow.prefix == prefix)  # type: ignore[arg-type]  # a column at run time


def _key(row: ApiKeyRow) -> Key:
    principal = Principal(team=row.team, key_id=row.id, key_name=row.name, debug=row.debug)
    return Key(bytes.fromhex(row.digest), principal, row.expires_at)


def _team(row: TeamRow) -> Team:
    return Team(row.name, row.title, row.monthly_budget_nano_usd, row.created_at)


def _info(row: ApiKeyRow) -> KeyInfo:
    return KeyInfo(row.id, row.team, row.name, row.prefix, row.debug, row.created_at, row.expires_at, row.revoked_at)
