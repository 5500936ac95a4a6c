"""Runs: begun with all their items in one transaction, ended when none waits any more."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, and_, delete, exists, func, insert, select, update

from gateway.core.ids import new_id
from gateway.core.page import Page, PageAsked
from gateway.db.engine import Database
from gateway.db.paging import page_of
from gateway.tuning.evals.tables import EvalItemRow, EvalRow, EvalRunRow, EvalTallyRow
from gateway.tuning.evals.values import ITEM, LEFT_OUT, QUEUED, Eval, Progress, Row, Run, RunStatus, Tally

_EVALS: Table = EvalRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_RUNS: Table = EvalRunRow.__table__  # type: ignore[attr-defined]  # the same
_ITEMS: Table = EvalItemRow.__table__  # type: ignore[attr-defined]  # the same
_TALLIES: Table = EvalTallyRow.__table__  # type: ignore[attr-defined]  # the same
# A table has its columns in an order of its own.
_RUN = tuple(_RUNS.c[name] for name in Run.__struct_fields__)
_EVAL = tuple(_EVALS.c[name] for name in Eval.__struct_fields__)
_TALLY = tuple(_TALLIES.c[name] for name in Tally.__struct_fields__)

GOES_ON = ("queued", "in_progress")
ROWS_AT_ONCE = 500
# Items of one run are ordered by their place in the data, and lists by time: a microsecond apart is enough.
APART_SECONDS = 1e-6


class RunStore:
    """Keeps runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, run: Run, rows: Sequence[Row]) -> bool:
        """Stores a run with its items, whole or not at all; False when its eval was deleted meanwhile.

        Where there is one of that id, that one stays.
        """
        values = {name: getattr(run, name) for name in run.__struct_fields__}
        begun = (
            self._database.insert(_RUNS)
            .values(values)
            .on_conflict_do_nothing(index_elements=["id"])
            .returning(_RUNS.c.id)
        )
        made = [
            {
                "run_id": run.id,
                "number": number,
                "id": new_id(ITEM),
                "item": row.item,
                "given": row.given,
                "status": QUEUED,
                "outcome": "",
                "created_at": run.created_at + number * APART_SECONDS,
                "tries": 0,
                "held_until": None,
            }
            for number, row in enumerate(rows)
        ]
        async with self._database.session() as session:
            if (await session.execute(begun)).first() is None:
                return True
            for start in range(0, len(made), ROWS_AT_ONCE):
                await session.execute(insert(_ITEMS), made[start : start + ROWS_AT_ONCE])
            found = (await session.execute(select(_EVALS.c.id).where(_EVALS.c.id == run.eval_id))).first()
            if found is None:
                await session.rollback()
            return found is not None

    async def find(self, eval_id: str, identity: str) -> Run | None:
        """A run of an eval, or None."""
        query = select(*_RUN).where(_RUNS.c.id == identity, _RUNS.c.eval_id == eval_id)
        async with self._database.session() as session:
            row = (await session.execute(query)).first()
        return None if row is None else Run(*row)

    async def planned(self, identity: str) -> tuple[Run, Eval] | None:
        """A run and its eval, as whoever evaluates its items needs them; None when they are gone."""
        query = select(*_RUN, *_EVAL).join(_EVALS, _EVALS.c.id == _RUNS.c.eval_id)
        async with self._database.session() as session:
            row = (await session.execute(query.where(_RUNS.c.id == identity))).first()
        if row is None:
            return None
        count = len(Run.__struct_fields__)
        return Run(*row[:count]), Eval(*row[count:])

    async def page(self, eval_id: str, asked: PageAsked, status: RunStatus | None) -> Page[Run]:
        """A page of an eval's runs, of one status or of all. Raises InvalidRequest (400) for an unknown cursor."""
        mine = _RUNS.c.eval_id == eval_id
        query = select(*_RUN).where(mine)
        if status is not None:
            query = query.where(_RUNS.c.status == status)
        async with self._database.session() as session:
            rows, has_more = await page_of(session, query, _RUNS, asked, within=mine)
        return Page(tuple(Run(*row) for row in rows), has_more)

    async def progress(self, ids: Sequence[str]) -> dict[str, Progress]:
        """How far each of the runs is."""
        counted = (
            select(_ITEMS.c.run_id, _ITEMS.c.status, func.count())
            .where(_ITEMS.c.run_id.in_(ids), _ITEMS.c.status.not_in((QUEUED, LEFT_OUT)))
            .group_by(_ITEMS.c.run_id, _ITEMS.c.status)
        )
        summed = select(_TALLIES.c.run_id, *_TALLY).where(_TALLIES.c.run_id.in_(ids))
        statuses: dict[str, dict[str, int]] = {identity: {} for identity in ids}
        tallies: dict[str, list[Tally]] = {identity: [] for identity in ids}
        async with self._database.session() as session:
            for run_id, status, count in await session.execute(counted):
                statuses[run_id][status] = int(count)
            for run_id, *sums in await session.execute(summed.order_by(_TALLIES.c.kind, _TALLIES.c.name)):
                tallies[run_id].append(Tally(*sums))
        return {identity: Progress(statuses[identity], tuple(tallies[identity])) for identity in ids}

    async def end(self, identity: str, status: RunStatus, code: str = "", message: str = "") -> bool:
        """Ends a run before its items are all evaluated; False when it had ended. What is at work is not written."""
        goes_on = and_(_RUNS.c.id == identity, _RUNS.c.status.in_(GOES_ON))
        ended = update(_RUNS).where(goes_on).values(status=status, error_code=code, error_message=message)
        waiting = update(_ITEMS).where(_ITEMS.c.run_id == identity, _ITEMS.c.status == QUEUED)
        async with self._database.session() as session:
            # Items first, as in a claim: then neither waits for the other in a ring. A run that has ended has none.
            await session.execute(waiting.values(status=LEFT_OUT, held_until=None))
            return _count(await session.execute(ended)) > 0

    async def settle(self) -> None:
        """Ends the runs whose items are all evaluated."""
        waits = exists().where(_ITEMS.c.run_id == _RUNS.c.id, _ITEMS.c.status == QUEUED)
        over = (_RUNS.c.status.in_(GOES_ON), ~waits)
        async with self._database.session() as session:
            # Looked first: an update that changes nothing takes SQLite's one write lock all the same.
            if (await session.execute(select(_RUNS.c.id).where(*over).limit(1))).first() is not None:
                await session.execute(update(_RUNS).where(*over).values(status="completed"))

    async def remove(self, identity: str) -> None:
        """Deletes a run with its items."""
        async with self._database.session() as session:
            await session.execute(delete(_ITEMS).where(_ITEMS.c.run_id == identity))
            await session.execute(delete(_TALLIES).where(_TALLIES.c.run_id == identity))
            await session.execute(delete(_RUNS).where(_RUNS.c.id == identity))


def _count(result: Any) -> int:
    return int(result.rowcount)
