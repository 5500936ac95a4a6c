"""Plans of retraining in the database."""

import hashlib
from typing import Any

import msgspec
from sqlalchemy import Table, func, select, update

from gateway.db.engine import Database
from gateway.tuning.retraining.tables import RetrainPlanRow
from gateway.tuning.retraining.values import RetrainAsked, RetrainPlan, State, Step

_PLANS: Table = RetrainPlanRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
# A table has its columns in an order of its own.
_PLAN = tuple(_PLANS.c[name] for name in RetrainPlan.__struct_fields__)

PLAN = "retrain"
# As many as other ids have.
ID_DIGITS = 32

_encoder = msgspec.json.Encoder(order="sorted")


class RetrainPlans:
    """Keeps them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, identity: str, asked: RetrainAsked, actor: str, now: float) -> RetrainPlan:
        """A new plan, nothing of which is done; where there is one of that id, that one as it stands."""
        plan = RetrainPlan(identity, asked.line, actor, arguments_of(asked), "open", "{}", "", now, now)
        row = {name: getattr(plan, name) for name in plan.__struct_fields__}
        async with self._database.session() as session:
            await session.execute(
                self._database.insert(_PLANS).values(row).on_conflict_do_nothing(index_elements=["id"])
            )
            found = (await session.execute(select(*_PLAN).where(_PLANS.c.id == identity))).one()
        return RetrainPlan(*found)

    async def next_id(self, asked: RetrainAsked) -> str:
        """The id of the plan that is asked for, once those of the same words are over: two who ask get the same."""
        words = arguments_of(asked)
        same = (_PLANS.c.line == asked.line, _PLANS.c.state != "open", _PLANS.c.arguments == words)
        async with self._database.session() as session:
            over = (await session.execute(select(func.count()).select_from(_PLANS).where(*same))).scalar_one()
        return f"{PLAN}_{hashlib.sha256(f'{over}:{words}'.encode()).hexdigest()[:ID_DIGITS]}"

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
        """Keeps what came of a step, beside what whoever else carries the plan out has noted meanwhile."""
        query = select(*_PLAN).where(_PLANS.c.id == plan.id)
        async with self._database.session() as session:
            row = (await session.execute(query.with_for_update())).one()
            kept = results_of(RetrainPlan(*row))
            done = msgspec.json.encode({**kept, step: kept.get(step, told)}).decode()
            values = {"done": done, "updated_at": now}
            await session.execute(update(_PLANS).where(_PLANS.c.id == plan.id).values(**values))
        return msgspec.structs.replace(RetrainPlan(*row), **values)

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
