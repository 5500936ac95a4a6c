"""Items: claimed by one process at a time, and what came of each written once."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Table, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.page import Page, PageAsked
from gateway.db.engine import Database
from gateway.db.paging import page_of
from gateway.tuning.evals.tables import EvalItemRow, EvalRunRow, EvalTallyRow
from gateway.tuning.evals.values import LEFT_OUT, QUEUED, ItemStatus, OutputItem, Tally, Work

_RUNS: Table = EvalRunRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_ITEMS: Table = EvalItemRow.__table__  # type: ignore[attr-defined]  # the same
_TALLIES: Table = EvalTallyRow.__table__  # type: ignore[attr-defined]  # the same
_WORK = tuple(_ITEMS.c[name] for name in Work.__struct_fields__)
_OUT = tuple(_ITEMS.c[name] for name in OutputItem.__struct_fields__)
_SUMS = tuple(name for name in Tally.__struct_fields__ if name not in ("kind", "name"))

Key = tuple[str, int]


class ItemStore:
    """Hands items out and keeps what came of them. A key is a run's id and an item's number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, now: float, hold_seconds: float, limit: int) -> list[Work]:
        """Items to evaluate, each to one claimer, who has them alone for `hold_seconds`.

        The first items of every run come before any run's later ones: a small run need not wait for a large one.
        """
        is_free = or_(_ITEMS.c.held_until.is_(None), _ITEMS.c.held_until <= now)
        due = select(_ITEMS.c.run_id, _ITEMS.c.number).where(_ITEMS.c.status == QUEUED, is_free)
        due = due.order_by(_ITEMS.c.number, _ITEMS.c.created_at).limit(limit).with_for_update(skip_locked=True)
        async with self._database.session() as session:
            found = [tuple(row) for row in await session.execute(due)]
            claimed: list[Any] = []
            for run_id, number in found:
                held = update(_ITEMS).where(*_waits((run_id, number)), is_free)
                held = held.values(held_until=now + hold_seconds, tries=_ITEMS.c.tries + 1)
                claimed += (await session.execute(held.returning(*_WORK))).all()
            runs = sorted({row.run_id for row in claimed})
            if runs:
                begun = update(_RUNS).where(_RUNS.c.id.in_(runs), _RUNS.c.status == "queued")
                await session.execute(begun.values(status="in_progress"))
        return [Work(*row) for row in claimed]

    async def hold(self, keys: Collection[Key], until: float) -> set[Key]:
        """Keeps claimed items for longer; those that are still wanted."""
        wanted = set()
        for key in keys:
            held = update(_ITEMS).where(*_waits(key)).values(held_until=until)
            # Each in a transaction of its own: who cancels a run locks its items in another order.
            async with self._database.session() as session:
                if (await session.execute(held.returning(_ITEMS.c.number))).first() is not None:
                    wanted.add(key)
        return wanted

    async def note(self, key: Key, outcome: str) -> None:
        """Keeps how far an item has come: whoever takes it over goes on there."""
        async with self._database.session() as session:
            await session.execute(update(_ITEMS).where(*_waits(key)).values(outcome=outcome))

    async def later(self, key: Key, held_until: float) -> None:
        """It could not be evaluated now, through no fault of its own."""
        async with self._database.session() as session:
            await session.execute(update(_ITEMS).where(*_waits(key)).values(held_until=held_until))

    async def finish(self, key: Key, status: ItemStatus, outcome: str, tallies: Sequence[Tally]) -> bool:
        """Writes what came of an item, with the sums; False when that was written before, or nobody wants it."""
        ended = update(_ITEMS).where(*_waits(key)).values(status=status, outcome=outcome, held_until=None)
        async with self._database.session() as session:
            if (await session.execute(ended.returning(_ITEMS.c.number))).first() is None:
                return False
            # In one order everywhere: two items of a run that end at once wait for each other, and never in a ring.
            for tally in sorted(tallies, key=lambda one: (one.kind, one.name)):
                await self._add(session, key[0], tally)
        return True

    async def _add(self, session: AsyncSession, run_id: str, tally: Tally) -> None:
        values = {name: getattr(tally, name) for name in tally.__struct_fields__}
        first = self._database.insert(_TALLIES).values(run_id=run_id, **values)
        sums = {name: _TALLIES.c[name] + first.excluded[name] for name in _SUMS}
        await session.execute(first.on_conflict_do_update(index_elements=["run_id", "kind", "name"], set_=sums))

    async def page(self, run_id: str, asked: PageAsked, status: ItemStatus | None) -> Page[OutputItem]:
        """A page of a run's evaluated items. Raises InvalidRequest (400) for an unknown cursor."""
        mine = _ITEMS.c.run_id == run_id
        query = select(*_OUT).where(mine, _ITEMS.c.status.not_in((QUEUED, LEFT_OUT)))
        if status is not None:
            query = query.where(_ITEMS.c.status == status)
        async with self._database.session() as session:
            rows, has_more = await page_of(session, query, _ITEMS, asked, within=mine)
        return Page(tuple(OutputItem(*row) for row in rows), has_more)

    async def find(self, run_id: str, identity: str) -> OutputItem | None:
        """An evaluated item of a run, or None."""
        query = select(*_OUT).where(_ITEMS.c.run_id == run_id, _ITEMS.c.id == identity)
        async with self._database.session() as session:
            row = (await session.execute(query.where(_ITEMS.c.status.not_in((QUEUED, LEFT_OUT))))).first()
        return None if row is None else OutputItem(*row)


def _waits(key: Key) -> tuple[Any, ...]:
    return (_ITEMS.c.run_id == key[0], _ITEMS.c.number == key[1], _ITEMS.c.status == QUEUED)
