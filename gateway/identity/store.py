"""Teams and keys in the database. Every change is noted in the audit log, in its own transaction."""

import contextlib
import re
import time
from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.call import Principal
from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.db.store import AuditEvent, audit_events, bump, note_change, version_of
from gateway.identity.keys import SHOWN, Key, digest_of, new_key
from gateway.identity.tables import ApiKeyRow, TeamRow
from gateway.identity.terms import FREE, Terms, written_terms

# As policy files name teams.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SUBJECT = "identity"
LONGEST_OVERLAP = 1e9
MOST_EVENTS = 10_000
LONGEST_TITLE = 200


class Team(Value, frozen=True):
    """A team as it is shown. organisation: "" is none."""

    name: str
    title: str
    monthly_budget_nano_usd: int | None
    created_at: float
    organisation: str = ""


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
    allowed_models: tuple[str, ...] = ()
    allowed_paths: tuple[str, ...] = ()
    metadata: dict[str, str] = {}  # noqa: RUF012  # msgspec copies it


class IdentityStore:
    """Reads and changes teams and keys. Every change is noticed by all processes within a second.

    actor: who changes something, as the audit log names them. teams: those whose keys the actor may change; None
    is all, and a key of another team is not found.
    """

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
        organisations = {team.name: team.organisation for team in teams}
        return version, [_key(row, organisations.get(row.team, "")) for row in rows], teams

    async def audit(self, subject: str | None = None, limit: int = 100) -> list[AuditEvent]:
        """The newest changes first, of all parts of the gateway; of one subject (`team:support`) or of all.

        limit: at most this many. Raises InvalidRequest for one below 1 or above MOST_EVENTS.
        """
        if not 1 <= limit <= MOST_EVENTS:
            raise InvalidRequest(f"limit is {limit}; it must be between 1 and {MOST_EVENTS}.", param="limit")
        async with self._database.session() as session:
            return await audit_events(session, subject=subject, limit=limit)

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

    async def create_team(
        self, name: str, title: str = "", budget_nano_usd: int | None = None, *, organisation: str = "", actor: str
    ) -> Team:
        """A new team. Raises Conflict when the name is taken."""
        if not _NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} is no team name; it takes letters, digits, '.', '_' and '-'.", param="name")
        _check_about(title, organisation)
        row = TeamRow(
            name=name,
            title=title,
            organisation=organisation,
            monthly_budget_nano_usd=budget_nano_usd,
            created_at=time.time(),
        )
        try:
            async with self._database.session() as session:
                session.add(row)
                note_change(session, actor, "team.create", f"team:{name}", **_told(row))
                await bump(session, SUBJECT)
        except IntegrityError:
            raise Conflict(f"Team {name!r} exists already.") from None
        return _team(row)

    async def declare_team(
        self, name: str, title: str, budget_nano_usd: int | None, *, organisation: str = "", actor: str
    ) -> None:
        """Makes a team what teams.yaml says, whether it existed or not. A budget that is not said stays as it is."""
        async with self._database.session() as session:
            row = await session.get(TeamRow, name)
            if row is not None:
                before = _told(row)
                row.title, row.organisation = title, organisation
                if budget_nano_usd is not None:
                    row.monthly_budget_nano_usd = budget_nano_usd
                await _note_team(session, actor, "team.declare", row, before)
                return
        # All processes read the same file at the same moment: another may have made the team by now, as it says.
        with contextlib.suppress(Conflict):
            await self.create_team(name, title, budget_nano_usd, organisation=organisation, actor=actor)

    async def set_team(
        self, name: str, *, title: str | None = None, organisation: str | None = None, actor: str
    ) -> Team:
        """Changes what is given of a team; "" takes it out of its organisation. Raises NotFound."""
        _check_about(title or "", organisation or "")
        async with self._database.session() as session:
            row = await _existing_team(session, name)
            before = _told(row)
            row.title = row.title if title is None else title
            row.organisation = row.organisation if organisation is None else organisation
            await _note_team(session, actor, "team.set", row, before)
            return _team(row)

    async def set_budget(self, name: str, budget_nano_usd: int | None, *, actor: str) -> Team:
        """Sets or (None) lifts a team's monthly budget. Raises NotFound."""
        async with self._database.session() as session:
            row = await _existing_team(session, name)
            before = _told(row)
            row.monthly_budget_nano_usd = budget_nano_usd
            await _note_team(session, actor, "budget.lift" if budget_nano_usd is None else "budget.set", row, before)
            return _team(row)

    async def known_name(self, scope: str, name: str) -> str:
        """The name that a budget or limit goes by: a key's id for its prefix. Raises NotFound for what is not there.

        Metadata values need not be known before they are sent.
        """
        if scope == "team":
            return (await self.team(name)).name
        if scope == "key":
            async with self._database.session() as session:
                return str((await self._find(session, name, None)).id)
        if scope == "organisation" and all(team.organisation != name for team in await self.teams()):
            raise NotFound(f"No team is of the organisation {name!r}; `gateway teams list` shows them.")
        return name

    async def create_key(
        self,
        team: str,
        name: str,
        *,
        actor: str,
        expires_at: float | None = None,
        debug: bool = False,
        terms: Terms = FREE,
    ) -> tuple[str, KeyInfo]:
        """A new key: its text, shown this once, and what is kept. Raises NotFound for an unknown team."""
        now = time.time()
        row = _key_row(team, name, terms, now)
        row.debug, row.expires_at = debug, expires_at
        row.lifetime_seconds = None if expires_at is None else expires_at - now
        async with self._database.session() as session:
            return await self._add_key(session, row, actor, "key.create")

    async def _add_key(
        self, session: AsyncSession, row: ApiKeyRow, actor: str, action: str, **more: object
    ) -> tuple[str, KeyInfo]:
        if await session.get(TeamRow, row.team) is None:
            raise NotFound(f"There is no team {row.team!r}; create it with `gateway teams create {row.team}`.")
        key = new_key()
        row.prefix, row.digest = key[:SHOWN], digest_of(self._pepper, key).hex()
        session.add(row)
        info = _info(row)
        detail = {
            "team": row.team,
            "name": row.name,
            "prefix": row.prefix,
            "debug": row.debug,
            "expires_at": row.expires_at,
            "allowed_models": info.allowed_models,
            "allowed_paths": info.allowed_paths,
            "metadata": info.metadata,
        }
        note_change(session, actor, action, f"key:{row.id}", **detail, **more)
        await bump(session, SUBJECT)
        return key, info

    async def keys(self, team: str | None = None, *, teams: Collection[str] | None = None) -> list[KeyInfo]:
        """Keys, newest last; of one team, of those that may be seen, or of all."""
        async with self._database.session() as session:
            rows = (await session.scalars(select(ApiKeyRow))).all()
        shown = [
            _info(row) for row in rows if (team is None or row.team == team) and (teams is None or row.team in teams)
        ]
        return sorted(shown, key=lambda info: (info.created_at, info.id))

    async def revoke_key(self, key_id: str, *, actor: str, teams: Collection[str] | None = None) -> KeyInfo:
        """Ends a key, named by its id or its visible prefix. Raises NotFound."""
        async with self._database.session() as session:
            row = await self._find(session, key_id, teams)
            if row.revoked_at is None:
                row.revoked_at = time.time()
                note_change(session, actor, "key.revoke", f"key:{row.id}", team=row.team, prefix=row.prefix)
                await bump(session, SUBJECT)
            return _info(row)

    async def rotate_key(
        self, key_id: str, overlap_seconds: float = 0, *, actor: str, teams: Collection[str] | None = None
    ) -> tuple[str, KeyInfo]:
        """A new key in place of an old one, which lives on for the overlap, but no longer than it would have.

        The new one has the old one's terms, and lives as long as that was made to. Raises NotFound, Conflict for a
        revoked key.
        """
        if not 0 <= overlap_seconds <= LONGEST_OVERLAP:
            raise InvalidRequest(
                f"The overlap is {overlap_seconds} s; it must be between 0 and {LONGEST_OVERLAP:.0f}.",
                param="overlap_seconds",
            )
        async with self._database.session() as session:
            old, now = await self._find(session, key_id, teams), time.time()
            if old.revoked_at is not None:
                raise Conflict(f"Key {old.prefix}... is revoked; create a new one.")
            ends = now + overlap_seconds
            row = _key_row(old.team, old.name, _terms(old), now)
            row.debug, row.lifetime_seconds = old.debug, old.lifetime_seconds
            row.expires_at = None if old.lifetime_seconds is None else now + old.lifetime_seconds
            old.expires_at = min(ends, old.expires_at) if old.expires_at is not None else ends
            return await self._add_key(
                session, row, actor, "key.rotate", replaces=old.id, replaced_ends_at=old.expires_at
            )

    async def _find(self, session: AsyncSession, key_id: str, teams: Collection[str] | None) -> ApiKeyRow:
        row = await session.get(ApiKeyRow, key_id)
        if row is None:
            rows = (await session.scalars(_with_prefix(key_id))).all()
            row = rows[0] if len(rows) == 1 else None
        if row is None or (teams is not None and row.team not in teams):
            raise NotFound(f"There is no single key {key_id!r}; `gateway keys list` shows ids and prefixes.")
        return row


async def _existing_team(session: AsyncSession, name: str) -> TeamRow:
    row = await session.get(TeamRow, name)
    if row is None:
        raise NotFound(f"There is no team {name!r}.")
    return row


async def _note_team(session: AsyncSession, actor: str, action: str, row: TeamRow, before: dict[str, Any]) -> None:
    """Notes what has changed of a team; what changes nothing is no change."""
    after = _told(row)
    changed = {name: value for name, value in after.items() if value != before[name]}
    if changed:
        was = {name: before[name] for name in changed}
        note_change(session, actor, action, f"team:{row.name}", **changed, before=was)
        await bump(session, SUBJECT)


def _check_about(title: str, organisation: str) -> None:
    if len(title) > LONGEST_TITLE or "\0" in title:
        raise InvalidRequest(f"A title takes up to {LONGEST_TITLE} characters, and none that is NUL.", param="title")
    if organisation and not _NAME.fullmatch(organisation):
        raise InvalidRequest(
            f"{organisation!r} is no organisation's name; it takes letters, digits, '.', '_' and '-'.",
            param="organisation",
        )


def _live_keys() -> Any:
    return select(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None))  # type: ignore[union-attr]  # a column at run time


def _with_prefix(prefix: str) -> Any:
    return select(ApiKeyRow).where(ApiKeyRow.prefix == prefix)  # type: ignore[arg-type]  # a column at run time


def _key_row(team: str, name: str, terms: Terms, now: float) -> ApiKeyRow:
    return ApiKeyRow(
        id=new_id("key"),
        team=team,
        name=name,
        prefix="",
        digest="",
        allowed_models=msgspec.json.encode(terms.allowed_models).decode(),
        allowed_paths=msgspec.json.encode(terms.allowed_paths).decode(),
        meta=msgspec.json.encode(dict(terms.metadata)).decode(),
        created_at=now,
    )


def _terms(row: ApiKeyRow) -> Terms:
    return written_terms(row.allowed_models, row.allowed_paths, row.meta)


def _key(row: ApiKeyRow, organisation: str) -> Key:
    terms = _terms(row)
    principal = Principal(
        team=row.team,
        key_id=row.id,
        key_name=row.name,
        debug=row.debug,
        organisation=organisation,
        allowed_models=terms.allowed_models,
        allowed_paths=terms.allowed_paths,
        metadata=terms.metadata,
    )
    return Key(bytes.fromhex(row.digest), principal, row.expires_at)


def _told(row: TeamRow) -> dict[str, Any]:
    return {
        "title": row.title,
        "organisation": row.organisation,
        "monthly_budget_nano_usd": row.monthly_budget_nano_usd,
    }


def _team(row: TeamRow) -> Team:
    return Team(row.name, row.title, row.monthly_budget_nano_usd, row.created_at, row.organisation)


def _info(row: ApiKeyRow) -> KeyInfo:
    terms = _terms(row)
    return KeyInfo(
        row.id,
        row.team,
        row.name,
        row.prefix,
        row.debug,
        row.created_at,
        row.expires_at,
        row.revoked_at,
        terms.allowed_models,
        terms.allowed_paths,
        dict(terms.metadata),
    )
