"""Fine-tuning jobs in the database: each step of one is one transaction, by whoever holds it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.errors import InvalidRequest
from gateway.core.page import Page, PageAsked
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.db.paging import page_of
from gateway.tuning.contract import Saved
from gateway.tuning.jobs.tables import CheckpointRow, TunedModelRow, TuningEventRow, TuningJobRow
from gateway.tuning.jobs.values import Checkpoint, JobEvent, TuningJob, Wanted

_JOBS: Table = TuningJobRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_EVENTS: Table = TuningEventRow.__table__  # type: ignore[attr-defined]  # the same
_POINTS: Table = CheckpointRow.__table__  # type: ignore[attr-defined]  # the same
_MODELS: Table = TunedModelRow.__table__  # type: ignore[attr-defined]  # the same
# Jobs that are looked through at once for those with some metadata.
LOOKED_THROUGH = 200
# PostgreSQL's lock for those that look at estimates of others; any number that nobody else takes.
ONE_LOOKS = 7_301_612

Inside = Callable[[AsyncSession], Awaitable[None]]


class Lost(Exception):
    """The job is somebody else's by now; what was to be written is not."""


class Model(Value, frozen=True):
    """A model that a job made."""

    id: str
    team: str
    upstream: str
    base: str
    job_id: str
    created_at: float
    deleted_at: float | None = None


class TuningJobs:
    """Keeps jobs with their events, checkpoints and models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, job: TuningJob, events: Sequence[JobEvent]) -> None:
        """A new job with what has happened so far; where there is one of that id, that one stays."""
        begun = self._upsert(_JOBS, ["id"]).values(_row(job)).returning(_JOBS.c.id)
        async with self._database.session() as session:
            if (await session.execute(begun)).first() is None:
                return
            await session.execute(_EVENTS.insert(), [_event_row(event) for event in events])

    async def find(self, identity: str) -> TuningJob | None:
        """A job of any team, or None."""
        async with self._database.session() as session:
            row = (await session.execute(select(*_JOBS.columns).where(_JOBS.c.id == identity))).first()
        return None if row is None else TuningJob(*row)

    async def begun_as(self, reference: str) -> TuningJob | None:
        """The job of any team that its trainer knows by that reference, or None."""
        query = select(*_JOBS.columns).where(_JOBS.c.reference == reference).limit(1)
        async with self._database.session() as session:
            row = (await session.execute(query)).first()
        return None if row is None else TuningJob(*row)

    async def page(
        self, team: str, asked: PageAsked, pairs: dict[str, str] | None = None, *, without: bool = False
    ) -> Page[TuningJob]:
        """A page of the team's jobs. pairs: metadata that they have; without: only jobs that have none."""
        found: list[TuningJob] = []
        cursor, has_more = asked, True
        while has_more and len(found) <= asked.limit:
            looked = msgspec.structs.replace(cursor, limit=max(asked.limit, LOOKED_THROUGH if pairs else asked.limit))
            query = select(*_JOBS.columns).where(_JOBS.c.team == team)
            if without:
                query = query.where(_JOBS.c.metadata == "{}")
            async with self._database.session() as session:
                rows, has_more = await page_of(session, query, _JOBS, looked)
            jobs = [TuningJob(*row) for row in rows]
            found += [job for job in jobs if _has(job, pairs)]
            if not pairs:
                return Page(tuple(found), has_more)
            if jobs:
                cursor = msgspec.structs.replace(cursor, after=jobs[-1].id, before=None)
        return Page(tuple(found[: asked.limit]), has_more or len(found) > asked.limit)

    async def events(self, job: TuningJob, limit: int, below: int | None) -> Page[JobEvent]:
        """Events with numbers below `below`, newest first."""
        query = select(*_EVENTS.columns).where(_EVENTS.c.job_id == job.id).order_by(_EVENTS.c.number.desc())
        if below is not None:
            query = query.where(_EVENTS.c.number < below)
        async with self._database.session() as session:
            rows = list(await session.execute(query.limit(limit + 1)))
        events = [JobEvent(row[0], row[1], row[2], row[3], row[4], row[5], _numbers(row[6])) for row in rows[:limit]]
        return Page(tuple(events), len(rows) > limit)

    async def checkpoints(self, job: TuningJob, limit: int, below: int | None) -> Page[Checkpoint]:
        """Checkpoints with numbers below `below`, newest first."""
        query = select(*_POINTS.columns).where(_POINTS.c.job_id == job.id).order_by(_POINTS.c.number.desc())
        if below is not None:
            query = query.where(_POINTS.c.number < below)
        async with self._database.session() as session:
            rows = list(await session.execute(query.limit(limit + 1)))
        return Page(
            tuple([Checkpoint(row[0], row[1], row[2], row[3], row[4], _numbers(row[5])) for row in rows[:limit]]),
            len(rows) > limit,
        )

    async def want(self, job: TuningJob, wanted: Wanted, now: float) -> bool:
        """Notes what the team asks for, and has the job looked after at once; False when it has ended meanwhile."""
        still = (_JOBS.c.id == job.id) & _JOBS.c.due_at.is_not(None)
        async with self._database.session() as session:
            done = await session.execute(update(_JOBS).where(still).values(wanted=wanted, due_at=now, quiet=0))
        return bool(done.rowcount)  # type: ignore[attr-defined]  # of an UPDATE it is there

    async def claim(self, now: float, hold_seconds: float, limit: int) -> list[TuningJob]:
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
            return [TuningJob(*row) for row in await session.execute(claimed)]

    async def hold(self, jobs: Sequence[TuningJob], until: float) -> None:
        """Keeps claimed jobs for longer; one whose step has just ended is let go, and stays so."""
        async with self._database.session() as session:
            for job in jobs:
                is_held = _mine(job) & _JOBS.c.held_until.is_not(None)
                await session.execute(update(_JOBS).where(is_held).values(held_until=until))

    async def step(
        self,
        job: TuningJob,
        values: dict[str, Any],
        events: Sequence[JobEvent] = (),
        checkpoints: Sequence[Saved] = (),
        inside: Inside | None = None,
    ) -> TuningJob:
        """Writes a step of a claimed job, whole or not at all, and gives the job as it is then.

        values: columns that change. inside: does more in the same transaction. Raises Lost when somebody else has
        claimed the job meanwhile.
        """
        changed = {**values, "events": job.events + len(events)}
        # What the team asked for while this step was under way is not to wait, nor to be forgotten.
        is_same = _JOBS.c.wanted == job.wanted
        if changed.get("due_at") is not None:
            changed["due_at"] = case((is_same, changed["due_at"]), else_=0.0)
        if changed.get("wanted") == "" and changed.get("due_at", 0.0) is not None:
            changed["wanted"] = case((is_same, ""), else_=_JOBS.c.wanted)
        async with self._database.session() as session:
            done = await session.execute(update(_JOBS).where(_mine(job)).values(**changed).returning(*_JOBS.columns))
            row = done.first()
            if row is None:
                raise Lost(job.id)
            if events:
                await session.execute(_EVENTS.insert(), [_event_row(event) for event in events])
            if checkpoints:
                # Trainers keep the last few; one that is gone there cannot be called any more.
                there = [point.number for point in checkpoints]
                await session.execute(delete(_POINTS).where(_POINTS.c.job_id == job.id, _POINTS.c.number.not_in(there)))
            for point in checkpoints:
                await session.execute(self._upsert(_POINTS, ["job_id", "number"]), _point_row(job, point))
            if inside is not None:
                await inside(session)
        return TuningJob(*row)

    def beside_others(self, job: TuningJob, look: Callable[[list[TuningJob]], None]) -> Inside:
        """Has a step look at all other jobs that are not booked and whose estimate is known: one step at a time does.

        What `look` raises undoes the step.
        """

        async def inside(session: AsyncSession) -> None:
            if self._database.dialect == "postgresql":
                # SQLite has one writer anyway, and this step has written by now.
                await session.execute(select(func.pg_advisory_xact_lock(ONE_LOOKS)))
            rows = _JOBS.c
            others = rows.due_at.is_not(None) & rows.estimated_tokens.is_not(None) & (rows.id != job.id)
            found = await session.execute(select(*_JOBS.columns).where(others))
            look([TuningJob(*row) for row in found])

        return inside

    async def imported(
        self, job: TuningJob, events: Sequence[JobEvent], checkpoints: Sequence[Saved], models: Sequence[Model]
    ) -> bool:
        """A job that ended elsewhere, with all there is of it, whole or not at all; False when it is here already."""
        async with self._database.session() as session:
            added = await session.execute(self._upsert(_JOBS, ["id"]).values(_row(job)).returning(_JOBS.c.id))
            if added.first() is None:
                return False
            if events:
                await session.execute(_EVENTS.insert(), [_event_row(event) for event in events])
            for point in checkpoints:
                await session.execute(_POINTS.insert(), _point_row(job, point))
            await self._add_models(session, models)
        return True

    async def made(self, models: Sequence[Model]) -> None:
        """Adds models to those that may be called; one that is known stays as it is."""
        async with self._database.session() as session:
            await self._add_models(session, models)

    async def _add_models(self, session: AsyncSession, models: Sequence[Model]) -> None:
        for model in models:
            values = {name: getattr(model, name) for name in model.__struct_fields__}
            await session.execute(self._upsert(_MODELS, ["id"]), values)

    async def finished(self, model: str, limit: int = 50) -> list[tuple[int, int]]:
        """Estimated and trained tokens of the last jobs for a base of which both are known."""
        known = _JOBS.c.estimated_tokens.is_not(None) & _JOBS.c.trained_tokens.is_not(None) & (_JOBS.c.model == model)
        query = select(_JOBS.c.estimated_tokens, _JOBS.c.trained_tokens).where(known)
        async with self._database.session() as session:
            rows = await session.execute(query.order_by(_JOBS.c.created_at.desc()).limit(limit))
            return [(int(row[0]), int(row[1])) for row in rows]

    def _upsert(self, table: Table, key: list[str]) -> Any:
        return self._database.insert(table).on_conflict_do_nothing(index_elements=key)


def number_of(cursor: str | None, prefix: str) -> int | None:
    """The number that an id of an event or a checkpoint ends with. Raises InvalidRequest (400) for another."""
    if cursor is None:
        return None
    digits = cursor.removeprefix(prefix)
    if digits == cursor or not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise InvalidRequest(f"{cursor!r} is not an item of this list.", param="after")
    return int(digits)


def _mine(job: TuningJob) -> Any:
    # Each claim counts up, so whoever lost the job to another claimer writes nothing any more.
    return (_JOBS.c.id == job.id) & (_JOBS.c.tries == job.tries)


def _has(job: TuningJob, pairs: dict[str, str] | None) -> bool:
    return not pairs or pairs.items() <= msgspec.json.decode(job.metadata, type=dict[str, str]).items()


def _row(job: TuningJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.__struct_fields__}


def _event_row(event: JobEvent) -> dict[str, Any]:
    row = {name: getattr(event, name) for name in event.__struct_fields__}
    return {**row, "data": msgspec.json.encode(dict(event.data)).decode()}


def _point_row(job: TuningJob, point: Saved) -> dict[str, Any]:
    row = {name: getattr(point, name) for name in point.__struct_fields__}
    return {**row, "job_id": job.id, "metrics": msgspec.json.encode(dict(point.metrics)).decode()}


def _numbers(written: str) -> tuple[tuple[str, float], ...]:
    return tuple(msgspec.json.decode(written, type=dict[str, float]).items())
