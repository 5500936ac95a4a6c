"""Evals in the database, each team's own."""

from typing import Any, Literal

from sqlalchemy import Table, delete, select, update

from gateway.core.page import Page, PageAsked
from gateway.db.engine import Database
from gateway.db.paging import page_of
from gateway.tuning.evals.tables import EvalItemRow, EvalRow, EvalRunRow, EvalTallyRow
from gateway.tuning.evals.values import Eval

_EVALS: Table = EvalRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_RUNS: Table = EvalRunRow.__table__  # type: ignore[attr-defined]  # the same
_ITEMS: Table = EvalItemRow.__table__  # type: ignore[attr-defined]  # the same
_TALLIES: Table = EvalTallyRow.__table__  # type: ignore[attr-defined]  # the same

# A table has its columns in an order of its own.
_EVAL = tuple(_EVALS.c[name] for name in Eval.__struct_fields__)

OrderBy = Literal["created_at", "updated_at"]


class EvalStore:
    """Keeps evals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, made: Eval) -> None:
        """Stores an eval; where there is one of that id, that one stays."""
        row = {name: getattr(made, name) for name in made.__struct_fields__}
        async with self._database.session() as session:
            await session.execute(
                self._database.insert(_EVALS).values(row).on_conflict_do_nothing(index_elements=["id"])
            )

    async def find(self, identity: str, team: str) -> Eval | None:
        """The team's eval; None for one that does not exist, or is another team's."""
        query = select(*_EVAL).where(_EVALS.c.id == identity, _EVALS.c.team == team)
        async with self._database.session() as session:
            row = (await session.execute(query)).first()
        return None if row is None else Eval(*row)

    async def page(self, team: str, asked: PageAsked, by: OrderBy) -> Page[Eval]:
        """A page of the team's evals. Raises InvalidRequest (400) for an unknown cursor."""
        mine = _EVALS.c.team == team
        async with self._database.session() as session:
            rows, has_more = await page_of(session, select(*_EVAL).where(mine), _EVALS, asked, moment=by, within=mine)
        return Page(tuple(Eval(*row) for row in rows), has_more)

    async def change(self, identity: str, now: float, values: dict[str, Any]) -> None:
        """Sets name or metadata."""
        changed = update(_EVALS).where(_EVALS.c.id == identity).values(**values, updated_at=now)
        async with self._database.session() as session:
            await session.execute(changed)

    async def remove(self, identity: str) -> None:
        """Deletes an eval with its runs. What is being evaluated for it meanwhile is written nowhere."""
        runs = select(_RUNS.c.id).where(_RUNS.c.eval_id == identity)
        async with self._database.session() as session:
            # Items first, here and wherever several of these tables change: then nobody waits in a ring.
            await session.execute(delete(_ITEMS).where(_ITEMS.c.run_id.in_(runs)))
            await session.execute(delete(_TALLIES).where(_TALLIES.c.run_id.in_(runs)))
            await session.execute(delete(_RUNS).where(_RUNS.c.eval_id == identity))
            await session.execute(delete(_EVALS).where(_EVALS.c.id == identity))
