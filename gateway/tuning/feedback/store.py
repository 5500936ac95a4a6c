"""Feedback in the database, each team's own."""

from collections.abc import Sequence

from sqlalchemy import Table, case, func, select, update

from gateway.db.engine import Database
from gateway.tuning.feedback.tables import FeedbackRow
from gateway.tuning.feedback.values import Feedback, Rated

_FEEDBACK: Table = FeedbackRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
# A table has its columns in an order of its own.
_SAID = tuple(_FEEDBACK.c[name] for name in Feedback.__struct_fields__)
AT_ONCE = 500


class FeedbackStore:
    """Keeps it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, said: Feedback) -> None:
        """Keeps what was said of a call, in place of what was said of it before."""
        row = {name: getattr(said, name) for name in said.__struct_fields__}
        changed = {name: value for name, value in row.items() if name != "call_id"}
        statement = self._database.insert(_FEEDBACK).values(row)
        async with self._database.session() as session:
            await session.execute(statement.on_conflict_do_update(index_elements=["call_id"], set_=changed))

    async def page(self, teams: Sequence[str] | None, line: str | None, limit: int) -> list[Feedback]:
        """The newest, of some teams or of all, of one line or of any."""
        query = select(*_SAID).order_by(_FEEDBACK.c.at.desc(), _FEEDBACK.c.call_id).limit(limit)
        query = query if teams is None else query.where(_FEEDBACK.c.team.in_(list(teams)))
        query = query if line is None else query.where(_FEEDBACK.c.line == line)
        async with self._database.session() as session:
            return [Feedback(*row) for row in await session.execute(query)]

    async def of(self, team: str, ids: Sequence[str]) -> dict[str, Feedback]:
        """What the team said of these calls, by their ids."""
        found: dict[str, Feedback] = {}
        for start in range(0, len(ids), AT_ONCE):
            part = list(ids[start : start + AT_ONCE])
            query = select(*_SAID).where(_FEEDBACK.c.team == team, _FEEDBACK.c.call_id.in_(part))
            async with self._database.session() as session:
                found |= {row[0]: Feedback(*row) for row in await session.execute(query)}
        return found

    async def forget(self, before: float, team: str | None = None) -> int:
        """Takes the words out of what was said before a Unix time, by a team or by any; gives how many had some."""
        rows = _FEEDBACK.c
        worded = (rows.at < before, (rows.comment != "") | (rows.corrected != ""))
        statement = update(_FEEDBACK).where(*worded).values(comment="", corrected="")
        if team is not None:
            statement = statement.where(rows.team == team)
        async with self._database.session() as session:
            done = await session.execute(statement)
        return int(done.rowcount)  # type: ignore[attr-defined]  # of an UPDATE it is there

    async def negative(self, line: str, version: int, since: float) -> Rated:
        """What was said of the calls that a version of a line answered since a Unix time.

        A call of which nobody said anything is in neither number.
        """
        rows = _FEEDBACK.c
        bad = func.coalesce(func.sum(case((rows.score < 0, 1), else_=0)), 0)
        query = select(func.count(), bad).where(rows.line == line, rows.version == version, rows.called_at >= since)
        async with self._database.session() as session:
            calls, negatives = (await session.execute(query)).one()
        return Rated(int(calls), int(negatives))
