"""Budgets and limits in the database: defined, changed, and how they stand."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.errors import InvalidRequest, NotFound
from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.db.store import bump, note_change, version_of
from gateway.ledger.leases.rules import SCOPES, WINDOWS, BudgetRule, LimitRule, zone_of
from gateway.ledger.leases.tables import BudgetRow, LeaseRow, LimitRow, PoolRow
from gateway.ledger.webhooks.delivery import url_fault

SUBJECT = "budgets"
MAX_NAME = 600


class Standing(Value, frozen=True):
    """How a budget stands in one of its periods, in nano-dollars. held: leased to processes and not spent yet."""

    budget_id: str
    first_day: str
    spent: int
    held: int


class RuleStore:
    """Reads and changes budgets and limits. Every change is noticed by all processes within a second."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def version(self) -> int:
        """A number that grows with every change."""
        async with self._database.session() as session:
            return await version_of(session, SUBJECT)

    async def load(self) -> tuple[int, list[BudgetRule], list[LimitRule]]:
        """The version, all budgets (but those that stand with teams) and all limits, from one transaction."""
        async with self._database.session() as session:
            version = await version_of(session, SUBJECT)
            budgets = [_budget(row) for row in (await session.scalars(select(BudgetRow))).all()]
            limits = [_limit(row) for row in (await session.scalars(select(LimitRow))).all()]
        return version, sorted(budgets, key=lambda rule: (rule.scope, rule.name, rule.window)), limits

    async def set_budget(self, rule: BudgetRule, actor: str) -> BudgetRule:
        """Defines a budget, or changes the one of the same scope, name, window and zone; what is spent stays spent.

        Raises InvalidRequest for what cannot be a budget.
        """
        _check(rule)
        async with self._database.session() as session:
            await bump(session, SUBJECT)
            same = select(BudgetRow).where(
                BudgetRow.scope == rule.scope,  # type: ignore[arg-type]  # columns at run time
                BudgetRow.name == rule.name,  # type: ignore[arg-type]  # the same
                BudgetRow.window == rule.window,  # type: ignore[arg-type]  # the same
                BudgetRow.time_zone == rule.time_zone,  # type: ignore[arg-type]  # the same
            )
            row = (await session.scalars(same)).first()
            if row is None:
                row = BudgetRow(id=new_id("bud"), created_at=time.time(), **_fields(rule))
                session.add(row)
            else:
                # What was told of another limit is no news of this one.
                if row.limit_nano_usd != rule.limit_nano_usd:
                    untold = update(PoolRow).where(PoolRow.budget_id == row.id).values(told="")  # type: ignore[arg-type]  # the same
                    await session.execute(untold)
                for name, value in _fields(rule).items():
                    setattr(row, name, value)
            made = _budget(row)
            note_change(session, actor, "budget.set", f"{rule.scope}:{rule.name}", **msgspec.to_builtins(made))
        return made

    async def remove_budget(self, budget_id: str, actor: str) -> BudgetRule:
        """Ends a budget; its pools stay for reports. Raises NotFound."""
        async with self._database.session() as session:
            await bump(session, SUBJECT)
            row = await session.get(BudgetRow, budget_id)
            if row is None:
                raise NotFound(f"There is no budget {budget_id!r}; `gateway budgets list` shows them.")
            rule = _budget(row)
            await session.delete(row)
            note_change(session, actor, "budget.remove", f"{rule.scope}:{rule.name}", id=rule.id)
        return rule

    async def set_limit(self, rule: LimitRule, actor: str) -> LimitRule:
        """Sets how fast somebody may go; without any number the limit is lifted. Raises InvalidRequest."""
        numbers = (rule.requests_per_minute, rule.tokens_per_minute, rule.concurrency)
        if rule.scope not in {"organisation", "team", "key"}:
            raise InvalidRequest(f"{rule.scope!r} has no limits; choose organisation, team or key.", param="scope")
        if any(number is not None and not 0 < number < 2**31 for number in numbers):
            raise InvalidRequest("A limit must be 1 or more, and below two billion; leave it out to lift it.")
        async with self._database.session() as session:
            await bump(session, SUBJECT)
            row = await session.get(LimitRow, (rule.scope, rule.name))
            if all(number is None for number in numbers):
                if row is not None:
                    await session.delete(row)
            else:
                values = {"scope": rule.scope, "name": rule.name, **_numbers(rule)}
                insert = self._database.insert(LimitRow)
                changed = insert.values(values).on_conflict_do_update(
                    index_elements=["scope", "name"], set_=_numbers(rule)
                )
                await session.execute(changed)
            note_change(session, actor, "limit.set", f"{rule.scope}:{rule.name}", **_numbers(rule))
        return rule

    async def standings(self, budget_ids: Sequence[str]) -> list[Standing]:
        """How these budgets stand, in every period that anything was spent or leased in."""
        async with self._database.session() as session:
            pools = await _in_parts(session, select(PoolRow), PoolRow.budget_id, budget_ids)
            leases = await _in_parts(session, select(LeaseRow), LeaseRow.pool_id, [pool.id for pool in pools])
        held: dict[str, int] = {}
        for lease in leases:
            held[lease.pool_id] = held.get(lease.pool_id, 0) + max(0, lease.granted_nano_usd - lease.shipped_nano_usd)
        return [
            Standing(
                budget_id=pool.budget_id,
                first_day=pool.id.rpartition("@")[2],
                spent=pool.base_nano_usd + pool.spent_nano_usd,
                held=held.get(pool.id, 0),
            )
            for pool in pools
        ]


async def _in_parts(session: AsyncSession, query: Any, column: Any, values: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(values), 500):
        found += (await session.scalars(query.where(column.in_(values[start : start + 500])))).all()
    return found


def _check(rule: BudgetRule) -> None:
    if rule.scope not in SCOPES:
        raise InvalidRequest(f"{rule.scope!r} has no budget; choose from {', '.join(SCOPES)}.", param="scope")
    if rule.window not in WINDOWS:
        raise InvalidRequest(f"{rule.window!r} is no window; choose from {', '.join(WINDOWS)}.", param="window")
    if not 0 < len(rule.name) <= MAX_NAME or "\0" in rule.name:
        raise InvalidRequest("A budget needs the name of whom it is for.", param="name")
    if rule.scope == "metadata" and not all(rule.name.partition("=")):
        raise InvalidRequest(f"{rule.name!r} names no metadata; write it as key=value.", param="name")
    if not 0 <= rule.limit_nano_usd < 2**62:
        raise InvalidRequest("The budget must be 0 or more.", param="limit")
    if any(not 0 < percent <= 1000 for percent in rule.thresholds):
        raise InvalidRequest("Thresholds are percents of the budget, from 1 to 1000.", param="thresholds")
    fault = url_fault(rule.webhook) if rule.webhook else None
    if fault is not None:
        raise InvalidRequest(fault, param="webhook")
    zone_of(rule.time_zone)


def _fields(rule: BudgetRule) -> dict[str, Any]:
    return {
        "scope": rule.scope,
        "name": rule.name,
        "window": rule.window,
        "time_zone": rule.time_zone,
        "limit_nano_usd": rule.limit_nano_usd,
        "is_hard": rule.is_hard,
        "thresholds": msgspec.json.encode(sorted(set(rule.thresholds))).decode(),
        "webhook": rule.webhook,
    }


def _numbers(rule: LimitRule) -> dict[str, int | None]:
    return {
        "requests_per_minute": rule.requests_per_minute,
        "tokens_per_minute": rule.tokens_per_minute,
        "concurrency": rule.concurrency,
    }


def _budget(row: BudgetRow) -> BudgetRule:
    return BudgetRule(
        id=row.id,
        scope=row.scope,  # type: ignore[arg-type]  # checked when it was set
        name=row.name,
        window=row.window,  # type: ignore[arg-type]  # the same
        time_zone=row.time_zone,
        limit_nano_usd=row.limit_nano_usd,
        is_hard=row.is_hard,
        thresholds=tuple(msgspec.json.decode(row.thresholds, type=list[int])),
        webhook=row.webhook,
    )


def _limit(row: LimitRow) -> LimitRule:
    return LimitRule(row.scope, row.name, row.requests_per_minute, row.tokens_per_minute, row.concurrency)  # type: ignore[arg-type]  # the same
