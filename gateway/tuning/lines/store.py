"""Model lines in the database. Every change compares the revision it was made on, and leaves an audit row."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.ids import new_id
from gateway.db.engine import Database
from gateway.db.store import bump, note_change, version_of
from gateway.tuning.lines.tables import (
    LineEventRow,
    LineRow,
    LineScoreRow,
    LineVersionRow,
    TrialCountRow,
    TrialRow,
    UpstreamShutdownsRow,
)
from gateway.tuning.lines.values import Line, LineEvent, Scored, Seen, Standing, TrialKey, Version

_LINES: Table = LineRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_VERSIONS: Table = LineVersionRow.__table__  # type: ignore[attr-defined]  # the same
_SCORES: Table = LineScoreRow.__table__  # type: ignore[attr-defined]  # the same
_EVENTS: Table = LineEventRow.__table__  # type: ignore[attr-defined]  # the same
_TRIALS: Table = TrialRow.__table__  # type: ignore[attr-defined]  # the same
_COUNTS: Table = TrialCountRow.__table__  # type: ignore[attr-defined]  # the same
_SHUTDOWNS: Table = UpstreamShutdownsRow.__table__  # type: ignore[attr-defined]  # the same
_KEY = ("line", "champion", "challenger")
Inside = Callable[[AsyncSession, Line], Awaitable[None]]
# What every process compares to see that lines or tuned models have changed.
SUBJECT = "registry"


class Lines:
    """Keeps lines. Raises Conflict (409) when a line was changed by somebody else since it was read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def change_number(self) -> int:
        """Grows with every change of lines and tuned models."""
        async with self._database.session() as session:
            return await version_of(session, SUBJECT)

    async def touch(self) -> None:
        """Says that tuned models have changed."""
        async with self._database.session() as session:
            await bump(session, SUBJECT)

    async def all(self) -> list[tuple[Line, list[Version]]]:
        """Every line with its versions, by name and number."""
        async with self._database.session() as session:
            lines = [Line(*row) for row in await session.execute(select(*_LINES.columns).order_by(_LINES.c.name))]
            query = select(*_VERSIONS.columns).order_by(_VERSIONS.c.line, _VERSIONS.c.number)
            versions = [Version(*row) for row in await session.execute(query)]
        return [(line, [one for one in versions if one.line == line.name]) for line in lines]

    async def find(self, name: str) -> tuple[Line, list[Version]]:
        """A line with its versions. Raises NotFound (404)."""
        async with self._database.session() as session:
            return await self._found(session, name)

    async def create(self, line: Line, versions: list[Version], actor: str) -> Line:
        """A new line with its first versions. Raises Conflict (409) when there is one of that name."""
        async with self._database.session() as session:
            known = (await session.execute(select(_LINES.c.name).where(_LINES.c.name == line.name))).first()
            if known is not None:
                raise Conflict(f"There is a line {line.name!r} already.")
            await session.execute(insert(_LINES), _row(line))
            await session.execute(insert(_VERSIONS), [_row(version) for version in versions])
            models = [version.model for version in versions]
            await self._noted(session, line, actor, "line.create", {"owner": line.owner, "models": models})
        return line

    async def add_version(self, name: str, version: Version, actor: str) -> Version:
        """Adds a version under the next number; one whose model is a version already is that version."""
        async with self._database.session() as session:
            line, versions = await self._found(session, name)
            known = next((one for one in versions if one.model == version.model), None)
            if known is not None:
                return known
            line = await self._changed(session, line, {})
            last = select(func.max(_VERSIONS.c.number)).where(_VERSIONS.c.line == name)
            number = int((await session.execute(last)).scalar_one() or 0) + 1
            version = msgspec.structs.replace(version, line=name, number=number, created_by=actor)
            await session.execute(insert(_VERSIONS), _row(version))
            await self._noted(session, line, actor, "line.version", {"number": number, "model": version.model})
        return version

    async def change(
        self,
        line: Line,
        values: dict[str, Any],
        actor: str,
        action: str,
        detail: dict[str, Any],
        inside: Inside | None = None,
    ) -> Line:
        """Changes a line that nobody has changed since `line` was read. values: its columns.

        inside: what else is to be true if and only if this is. A canary that begins anew is counted anew.
        """
        async with self._database.session() as session:
            _, versions = await self._found(session, line.name)
            numbers = {version.number for version in versions}
            for alias in ("champion", "challenger"):
                if values.get(alias) is not None and values[alias] not in numbers:
                    raise InvalidRequest(f"Line {line.name!r} has no version {values[alias]}.", param=alias)
            changed = await self._changed(session, line, values)
            await self._noted(session, changed, actor, action, detail)
            if changed.canary and (not line.canary or changed.challenger != line.challenger):
                for table in (_TRIALS, _COUNTS):
                    await session.execute(delete(table).where(table.c.line == line.name))
            if inside is not None:
                await inside(session, changed)
        return changed

    async def remove(self, line: Line, actor: str) -> None:
        """Forgets a line with its versions and scores; its events and audit rows stay."""
        async with self._database.session() as session:
            line = await self._changed(session, line, {})
            for table, column in ((_SCORES, "line"), (_VERSIONS, "line"), (_LINES, "name")):
                await session.execute(delete(table).where(table.c[column] == line.name))
            await self._noted(session, line, actor, "line.remove", {"champion": line.champion})

    async def scored(self, score: Scored) -> None:
        """Keeps how a version did on a frozen set; what is kept under that id stays."""
        async with self._database.session() as session:
            await session.execute(
                self._database.insert(_SCORES).values(_row(score)).on_conflict_do_nothing(index_elements=["id"])
            )

    async def scores(self, name: str, number: int | None = None) -> list[Scored]:
        """How a line's versions did, newest first."""
        query = select(*_SCORES.columns).where(_SCORES.c.line == name).order_by(_SCORES.c.created_at.desc())
        if number is not None:
            query = query.where(_SCORES.c.number == number)
        async with self._database.session() as session:
            return [Scored(*row) for row in await session.execute(query)]

    async def events(self, name: str, limit: int = 100) -> list[LineEvent]:
        """What was changed of a line, newest first."""
        query = select(*_EVENTS.columns).where(_EVENTS.c.line == name).order_by(_EVENTS.c.revision.desc())
        async with self._database.session() as session:
            return [LineEvent(*row) for row in await session.execute(query.limit(limit))]

    async def _found(self, session: AsyncSession, name: str) -> tuple[Line, list[Version]]:
        row = (await session.execute(select(*_LINES.columns).where(_LINES.c.name == name))).first()
        if row is None:
            raise NotFound(f"There is no line {name!r} in the registry.", param="line")
        query = select(*_VERSIONS.columns).where(_VERSIONS.c.line == name).order_by(_VERSIONS.c.number)
        return Line(*row), [Version(*one) for one in await session.execute(query)]

    async def _changed(self, session: AsyncSession, line: Line, values: dict[str, Any]) -> Line:
        as_read = (_LINES.c.name == line.name) & (_LINES.c.revision == line.revision)
        fresh = {**values, "revision": line.revision + 1}
        done = await session.execute(update(_LINES).where(as_read).values(**fresh).returning(*_LINES.columns))
        row = done.first()
        if row is None:
            raise Conflict(f"Line {line.name!r} was changed meanwhile; look at it and try again.")
        return Line(*row)

    async def _noted(self, session: AsyncSession, line: Line, actor: str, action: str, detail: dict[str, Any]) -> None:
        text = msgspec.json.encode(detail).decode()
        event = LineEvent(new_id("lev"), line.name, line.revision, time.time(), actor, action, text)
        await session.execute(insert(_EVENTS), _row(event))
        note_change(session, actor, action, f"line:{line.name}", revision=line.revision, **detail)
        await bump(session, SUBJECT)


class Trials:
    """Keeps what was seen in canaries, of all processes together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, seen: Mapping[tuple[TrialKey, int], Seen], now: float) -> None:
        """Adds what a process has seen of versions, by canary and number."""
        async with self._database.session() as session:
            # In one order, so that processes that add to the same rows wait for each other and do not cross.
            for (key, number), sums in sorted(seen.items(), key=_place):
                begun = self._database.insert(_TRIALS).values(**_row(key), began_at=now)
                await session.execute(begun.on_conflict_do_nothing(index_elements=_KEY))
                counts = _row(sums)
                first = self._database.insert(_COUNTS).values(**_row(key), version=number, **counts)
                more = {name: _COUNTS.c[name] + value for name, value in counts.items()}
                await session.execute(first.on_conflict_do_update(index_elements=[*_KEY, "version"], set_=more))

    async def standing(self) -> list[Standing]:
        """How each canary stands, by line."""
        async with self._database.session() as session:
            trials = (await session.execute(select(*_TRIALS.columns).order_by(_TRIALS.c.line))).all()
            counted = (await session.execute(select(*_COUNTS.columns))).all()
        seen = {(TrialKey(*row[:3]), row[3]): Seen(*row[4:]) for row in counted}
        found = []
        for *names, began_at, slow_seconds, held_at in trials:
            key = TrialKey(*names)
            both = [seen.get((key, number), Seen()) for number in (key.champion, key.challenger)]
            found.append(Standing(key, began_at, slow_seconds, held_at, *both))
        return found

    async def note(self, key: TrialKey, **values: float) -> None:
        """Sets `slow_seconds` or `held_at`, where it is not set yet."""
        where = [_TRIALS.c[name] == getattr(key, name) for name in _KEY]
        where += [_TRIALS.c[name].is_(None) for name in values]
        async with self._database.session() as session:
            await session.execute(update(_TRIALS).where(*where).values(**values))


class UpstreamShutdowns:
    """Keeps when upstreams say that their models end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, dict[str, str]]:
        """Of each upstream, id -> day (2027-01-14)."""
        async with self._database.session() as session:
            rows = await session.execute(select(_SHUTDOWNS.c.upstream, _SHUTDOWNS.c.dates))
            return {row[0]: msgspec.json.decode(row[1], type=dict[str, str]) for row in rows}

    async def heard(self, upstream: str, dates: Mapping[str, str], now: float) -> None:
        """Keeps what an upstream's list says now, in place of what it said before."""
        text = msgspec.json.encode(dict(dates), order="sorted").decode()
        row = {"dates": text, "seen_at": now}
        first = self._database.insert(_SHUTDOWNS).values(upstream=upstream, **row)
        changed = first.on_conflict_do_update(
            index_elements=["upstream"], set_=row, where=_SHUTDOWNS.c.dates != text
        ).returning(_SHUTDOWNS.c.upstream)
        async with self._database.session() as session:
            if (await session.execute(changed)).first() is not None:
                await bump(session, SUBJECT)


def _place(seen: tuple[tuple[TrialKey, int], Seen]) -> tuple[str, int, int, int]:
    (key, number), _ = seen
    return key.line, key.champion, key.challenger, number


def _row(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
