"""Jobs that are looked after, in the database."""

from collections.abc import Collection
from typing import Any, Literal

from sqlalchemy import Table, func, select

from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.ledger.jobs.tables import WatchedJobRow

_JOBS: Table = WatchedJobRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time


class Job(Value, frozen=True):
    """A job, and whose money it is. model: as its request named it; metadata: of it, JSON. Times are Unix seconds."""

    id: str
    kind: Literal["training", "batch"]
    upstream: str
    team: str
    key_id: str
    organisation: str
    model: str
    created_at: float
    ended_at: float | None = None
    due_at: float | None = None
    tries: int = 0
    held_until: float | None = None
    metadata: str = "{}"


class JobStore:
    """Remembers jobs until they are booked. Remembering one again changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def remember(self, jobs: Collection[Job]) -> None:
        """Begins to look after jobs."""
        if not jobs:
            return
        rows = [{name: getattr(job, name) for name in job.__struct_fields__} for job in jobs]
        async with self._database.session() as session:
            await session.execute(self._database.insert(_JOBS).on_conflict_do_nothing(index_elements=["id"]), rows)

    async def claim(self, now: float, hold_seconds: float, limit: int) -> list[Job]:
        """Jobs that are due, each to one claimer, who has them alone for `hold_seconds`."""
        rows = _JOBS.c
        is_free = rows.held_until.is_(None) | (rows.held_until <= now)
        due = select(rows.id).where(rows.due_at <= now, is_free).order_by(rows.due_at).limit(limit)
        claimed = (
            _JOBS.update()
            .where(rows.id.in_(due.with_for_update(skip_locked=True).scalar_subquery()))
            .values(tries=rows.tries + 1, held_until=now + hold_seconds)
            .returning(*_JOBS.columns)
        )
        async with self._database.session() as session:
            return [Job(*row) for row in await session.execute(claimed)]

    async def hold(self, jobs: Collection[Job], until: float) -> None:
        """Keeps claimed jobs for longer."""
        ids = [job.id for job in jobs]
        await self._update(_JOBS.c.id.in_(ids) & _JOBS.c.held_until.is_not(None), held_until=until)

    async def hurry(self, ids: Collection[str], now: float) -> None:
        """Makes jobs due now: somebody has seen that they ended."""
        if ids:
            await self._update(_JOBS.c.id.in_(list(ids)) & _JOBS.c.due_at.is_not(None), due_at=now)

    async def later(self, job: Job, due_at: float) -> None:
        """It goes on; unless it is booked meanwhile, it is looked at again."""
        await self._update((_JOBS.c.id == job.id) & _JOBS.c.due_at.is_not(None), due_at=due_at, held_until=None)

    async def ended(self, job: Job, at: float) -> float:
        """Fixes when the job ended: the first who says it is believed, so that its rows are always the same."""
        fixed = _JOBS.update().where(_JOBS.c.id == job.id).values(ended_at=func.coalesce(_JOBS.c.ended_at, at))
        async with self._database.session() as session:
            found = (await session.execute(fixed.returning(_JOBS.c.ended_at))).scalar_one_or_none()
        return at if found is None else float(found)

    async def booked(self, job: Job) -> None:
        """It is in the journal, and is not looked at any more."""
        await self._update(_JOBS.c.id == job.id, due_at=None, held_until=None)

    async def waiting(self) -> list[Job]:
        """Jobs that are not in the books yet, the oldest first."""
        query = select(*_JOBS.columns).where(_JOBS.c.due_at.is_not(None)).order_by(_JOBS.c.created_at, _JOBS.c.id)
        async with self._database.session() as session:
            return [Job(*row) for row in await session.execute(query)]

    async def _update(self, where: Any, **values: float | None) -> None:
        async with self._database.session() as session:
            await session.execute(_JOBS.update().where(where).values(**values))
