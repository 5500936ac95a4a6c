"""Captured calls in the database, each team's own."""

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import Table, delete, func, select

from gateway.db.engine import Database
from gateway.tuning.captured.tables import CapturedCallRow
from gateway.tuning.captured.values import CallsAsked, CapturedCall

_CALLS: Table = CapturedCallRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
# A table has its columns in an order of its own.
_CALL = tuple(_CALLS.c[name] for name in CapturedCall.__struct_fields__)
# Rows that are held at once while many are read.
AT_ONCE = 200


class CapturedCalls:
    """Keeps them. One that has expired is not there any more, though its row may be until the next sweep."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, calls: Sequence[CapturedCall]) -> None:
        """Adds calls; one that is there already stays as it is."""
        rows = [{name: getattr(call, name) for name in call.__struct_fields__} for call in calls]
        async with self._database.session() as session:
            for row in rows:
                await session.execute(
                    self._database.insert(_CALLS).values(row).on_conflict_do_nothing(index_elements=["id"])
                )

    async def find(self, identity: str, now: float) -> CapturedCall | None:
        """A call of any team by its own id, its decision's or its reply's; None when there is none."""
        named = (_CALLS.c.id == identity) | (_CALLS.c.decision_id == identity) | (_CALLS.c.response_id == identity)
        query = select(*_CALL).where(named, _CALLS.c.expires_at > now).order_by(_CALLS.c.at.desc()).limit(1)
        async with self._database.session() as session:
            row = (await session.execute(query)).first()
        return None if row is None else CapturedCall(*row)

    async def several(self, ids: Sequence[str], team: str, now: float) -> dict[str, CapturedCall]:
        """Those of these calls that are the team's and are still there, by id."""
        found: dict[str, CapturedCall] = {}
        for start in range(0, len(ids), AT_ONCE):
            part = list(ids[start : start + AT_ONCE])
            query = select(*_CALL).where(_CALLS.c.id.in_(part), _CALLS.c.team == team, _CALLS.c.expires_at > now)
            async with self._database.session() as session:
                found |= {row[0]: CapturedCall(*row) for row in await session.execute(query)}
        return found

    async def read(self, asked: CallsAsked, now: float) -> AsyncIterator[CapturedCall]:
        """The calls, oldest first, some at a time: memory stays flat however many there are."""
        rows = _CALLS.c
        where = [rows.team == asked.team, rows.at >= asked.since, rows.expires_at > now]
        where += [] if asked.line is None else [rows.line == asked.line]
        where += [] if asked.until is None else [rows.at < asked.until]
        after: tuple[float, str] | None = None
        while True:
            query = select(*_CALL).where(*where).order_by(rows.at, rows.id).limit(AT_ONCE)
            if after is not None:
                query = query.where((rows.at > after[0]) | ((rows.at == after[0]) & (rows.id > after[1])))
            async with self._database.session() as session:
                found = [CapturedCall(*row) for row in await session.execute(query)]
            for call in found:
                yield call
            if len(found) < AT_ONCE:
                return
            after = (found[-1].at, found[-1].id)

    async def count(self, team: str) -> int:
        """How many of a team's calls are kept, expired ones that no sweep has taken yet among them."""
        query = select(func.count()).select_from(_CALLS).where(_CALLS.c.team == team)
        async with self._database.session() as session:
            return int((await session.execute(query)).scalar_one())

    async def sweep(self, now: float, limit: int = 1_000) -> int:
        """Deletes calls whose time is over, at most so many; gives how many."""
        due = select(_CALLS.c.id).where(_CALLS.c.expires_at <= now).limit(limit)
        async with self._database.session() as session:
            done = await session.execute(delete(_CALLS).where(_CALLS.c.id.in_(due)))
        return int(done.rowcount)  # type: ignore[attr-defined]  # of a DELETE it is there
