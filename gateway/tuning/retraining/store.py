"""Plans of retraining in the database."""

from typing import Any

import msgspec
from sqlalchemy import Table, insert, select, update

from gateway.db.engine import Database
from gateway.tuning.retraining.tables import RetrainPlanRow
from gateway.tuning.retraining.values import RetrainAsked, RetrainPlan, State, Step

_PLANS: Table = RetrainPlanRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
# A table has its columns in an order of its own.
_PLAN = tuple(_PLANS.c[name] for name in RetrainPlan.__struct_fields__)

_encoder = msgspec.json.Encoder(order="sorted")


class RetrainPlans:
    """Keeps them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, identity: str, asked: RetrainAsked, actor: str, now: float) -> RetrainPlan:
        """A new plan, nothing of which is done."""
        plan = RetrainPlan(identity, asked.line, actor, arguments_of(asked), "open", "{}", "", now, now)
        async with self._database.session() as session:
            await session.execute(insert(_PLANS), {name: getattr(plan, name) for name in plan.__struct_fields__})
        return plan

    async def open_one(self, asked: RetrainAsked) -> RetrainPlan | None:
        """The newest plan that was asked for in the same words and is not over, or None."""
        same = (_PLANS.c.line == asked.line, _PLANS.c.state == "open", _PLANS.c.arguments == arguments_of(asked))
        query = select(*_PLAN).where(*same).order_by(_PLANS.c.created_at.desc()).limit(1)
        async with self._database.session() as session:
            row = (await session.execute(query)).first()
        return None if row is None else RetrainPlan(*row)

    async def of_line(self, line: str) -> list[RetrainPlan]:
        """A line's plans, newest first."""
        query = select(*_PLAN).where(_PLANS.c.line == line).order_by(_PLANS.c.created_at.desc())
        async with self._database.session() as session:
            return [RetrainPlan(*row) for row in await session.execute(query)]

    async def note(self, plan: RetrainPlan, step: Step, told: dict[str, Any], now: float) -> RetrainPlan:
        """Keeps what came of a step."""
        done = {**results_of(plan), step: told}
        return await self._changed(plan, {"done": msgspec.json.encode(done).decode(), "updated_at": now})

    async def end(self, plan: RetrainPlan, state: State, now: float, error: str = "") -> RetrainPlan:
        """Ends a plan: the next retraining of the line begins anew."""
        return await self._changed(plan, {"state": state, "error": error, "updated_at": now})

    async def _changed(self, plan: RetrainPlan, values: dict[str, Any]) -> RetrainPlan:
        async with self._database.session() as session:
            await session.execute(update(_PLANS).where(_PLANS.c.id == plan.id).values(**values))
        return msgspec.structs.replace(plan, **values)


def arguments_of(asked: RetrainAsked) -> str:
    """What was asked, in one way of writing."""
    return _encoder.encode(asked).decode()


def results_of(plan: RetrainPlan) -> dict[str, dict[str, Any]]:
    """What came of the steps that are done."""
    return msgspec.json.decode(plan.done, type=dict[str, dict[str, Any]])
