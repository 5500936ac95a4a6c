"""Role keys and members in the database. Every change is noted in the audit log, in its own transaction."""

import re
import secrets
import time
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.db.store import bump, note_change
from gateway.identity.access.holders import PREFIX, RoleKey
from gateway.identity.keys import digest_of
from gateway.identity.roles import Grant, Holder, Role, checked_grant
from gateway.identity.store import SUBJECT
from gateway.identity.tables import MemberRow, RoleKeyRow, TeamRow

SHOWN = len(PREFIX) + 6
LONGEST_EMAIL = 254
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+")


class RoleKeyInfo(Value, frozen=True):
    """A role key as it is shown: never the key. team: of team roles, else ""."""

    id: str
    name: str
    role: Role
    team: str
    prefix: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class Member(Value, frozen=True):
    """A person and one of their roles."""

    email: str
    role: Role
    team: str
    created_at: float


class AccessStore:
    """Reads and changes role keys and members. Changes are noticed with those of teams and keys."""

    def __init__(self, database: Database, pepper: bytes) -> None:
        self._database = database
        self._pepper = pepper

    async def load(self) -> tuple[list[RoleKey], dict[str, Holder]]:
        """The live role keys, and members by email."""
        async with self._database.session() as session:
            keys = (await session.scalars(_live())).all()
            members = (await session.scalars(select(MemberRow))).all()
        grants: dict[str, list[Grant]] = {}
        for row in members:
            grants.setdefault(row.email, []).append(Grant(cast("Role", row.role), row.team))
        held = [
            RoleKey(
                bytes.fromhex(row.digest),
                Holder(f"key:{row.id}", (Grant(cast("Role", row.role), row.team),)),
                row.expires_at,
            )
            for row in keys
        ]
        return held, {email: Holder(f"oidc:{email}", tuple(found)) for email, found in grants.items()}

    async def create_key(
        self, name: str, role: str, team: str = "", *, expires_at: float | None = None, actor: str
    ) -> tuple[str, RoleKeyInfo]:
        """A new role key: its text, shown this once, and what is kept. Raises InvalidRequest, NotFound."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} is no name; it takes letters, digits, '.', '_' and '-'.", param="name")
        grant = checked_grant(role, team)
        key = PREFIX + secrets.token_urlsafe(32)
        row = RoleKeyRow(
            id=new_id("rol"),
            name=name,
            role=grant.role,
            team=grant.team,
            prefix=key[:SHOWN],
            digest=digest_of(self._pepper, key).hex(),
            created_at=time.time(),
            expires_at=expires_at,
        )
        async with self._database.session() as session:
            await _require_team(session, team)
            session.add(row)
            detail = {"name": name, "role": role, "team": team, "prefix": row.prefix, "expires_at": expires_at}
            note_change(session, actor, "role_key.create", f"role_key:{row.id}", **detail)
            await bump(session, SUBJECT)
        return key, _info(row)

    async def keys(self) -> list[RoleKeyInfo]:
        """All role keys, newest last."""
        async with self._database.session() as session:
            rows = (await session.scalars(select(RoleKeyRow))).all()
        return sorted(map(_info, rows), key=lambda info: (info.created_at, info.id))

    async def revoke_key(self, key_id: str, *, actor: str) -> RoleKeyInfo:
        """Ends a role key, named by its id or its visible prefix. Raises NotFound."""
        async with self._database.session() as session:
            row = await session.get(RoleKeyRow, key_id)
            if row is None:
                rows = (await session.scalars(_with_prefix(key_id))).all()
                row = rows[0] if len(rows) == 1 else None
            if row is None:
                raise NotFound(f"There is no single role key {key_id!r}; `gateway roles list` shows ids and prefixes.")
            if row.revoked_at is None:
                row.revoked_at = time.time()
                detail = {"name": row.name, "role": row.role, "team": row.team, "prefix": row.prefix}
                note_change(session, actor, "role_key.revoke", f"role_key:{row.id}", **detail)
                await bump(session, SUBJECT)
            return _info(row)

    async def add_member(self, email: str, role: str, team: str = "", *, actor: str) -> Member:
        """Gives a person a role: one for each team, and one outside the teams.

        Raises InvalidRequest, NotFound for a team that is not there, Conflict for a second role in one place.
        """
        email = _checked_email(email)
        grant = checked_grant(role, team)
        row = MemberRow(email=email, team=grant.team, role=grant.role, created_at=time.time())
        try:
            async with self._database.session() as session:
                await _require_team(session, team)
                session.add(row)
                note_change(session, actor, "member.add", f"member:{email}", role=role, team=team)
                await bump(session, SUBJECT)
        except IntegrityError:
            place = f"in team {team!r}" if team else "outside the teams"
            raise Conflict(f"{email!r} has a role {place} already; remove it first.") from None
        return _member(row)

    async def members(self) -> list[Member]:
        """All members by email and team."""
        async with self._database.session() as session:
            rows = (await session.scalars(select(MemberRow))).all()
        return sorted(map(_member, rows), key=lambda member: (member.email, member.team))

    async def remove_member(self, email: str, team: str | None = None, *, actor: str) -> list[Member]:
        """Takes a person's roles away: that of one team ("" is the one outside the teams), or all.

        Raises InvalidRequest, NotFound.
        """
        email = _checked_email(email)
        async with self._database.session() as session:
            rows = (await session.scalars(_of(email))).all()
            gone = [row for row in rows if team is None or row.team == team]
            if not gone:
                raise NotFound(f"{email!r} has no such role; `gateway members list` shows who has which.")
            for row in gone:
                await session.delete(row)
                note_change(session, actor, "member.remove", f"member:{email}", role=row.role, team=row.team)
            await bump(session, SUBJECT)
            return [_member(row) for row in gone]


def _checked_email(email: str) -> str:
    """The email in lower case: providers differ in how they write it."""
    email = email.strip().lower()
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        raise InvalidRequest(f"{email[:LONGEST_EMAIL]!r} is no email address.", param="email")
    return email


async def _require_team(session: AsyncSession, team: str) -> None:
    if team and await session.get(TeamRow, team) is None:
        raise NotFound(f"There is no team {team!r}; create it with `gateway teams create {team}`.")


def _live() -> Any:
    return select(RoleKeyRow).where(RoleKeyRow.revoked_at.is_(None))  # type: ignore[union-attr]  # a column at run time


def _with_prefix(prefix: str) -> Any:
    return select(RoleKeyRow).where(RoleKeyRow.prefix == prefix)  # type: ignore[arg-type]  # a column at run time


def _of(email: str) -> Any:
    return select(MemberRow).where(MemberRow.email == email)  # type: ignore[arg-type]  # a column at run time


def _info(row: RoleKeyRow) -> RoleKeyInfo:
    times = (row.created_at, row.expires_at, row.revoked_at)
    return RoleKeyInfo(row.id, row.name, cast("Role", row.role), row.team, row.prefix, *times)


def _member(row: MemberRow) -> Member:
    return Member(row.email, cast("Role", row.role), row.team, row.created_at)
