"""How budgets stand now: what the command line and /admin show of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from gateway.core.money import usd_text
from gateway.core.values import Value
from gateway.ledger.leases.defined.store import RuleStore
from gateway.ledger.leases.rules import FAR, BudgetRule, effective, period_of, pool_id
from gateway.ledger.leases.store import LeaseStore


class BudgetLine(Value, frozen=True):
    """One budget in its present period, in exact USD text. limit_usd: None for a team that has none.

    held_usd: leased to processes for calls to come, and not spent. renews_at: ISO time, None for a total.
    """

    id: str
    scope: str
    name: str
    window: str
    time_zone: str
    is_hard: bool
    limit_usd: str | None
    spent_usd: str
    held_usd: str
    used_percent: float | None
    thresholds: tuple[int, ...]
    webhook: str
    since: str
    renews_at: str | None


async def budget_lines(
    rules: RuleStore, leases: LeaseStore, teams: Mapping[str, int | None], now: float
) -> list[BudgetLine]:
    """All budgets and teams without one. teams: the monthly budgets that stand with them, in nano-dollars."""
    _, defined, _ = await rules.load()
    found = effective(teams, defined)
    with_budget = {rule.name for rule in found if rule.scope == "team"}
    found += [
        BudgetRule(f"team/{team}/none", "team", team, "month", "UTC", 0, is_hard=False)
        for team in sorted(teams)
        if team not in with_budget
    ]
    spent, held = await _standing(rules, leases, found, now)
    return [_line(rule, spent[rule.id], held.get(rule.id, 0), now) for rule in found]


async def _standing(
    rules: RuleStore, leases: LeaseStore, found: Sequence[BudgetRule], now: float
) -> tuple[dict[str, int], dict[str, int]]:
    current = {pool_id(rule, period_of(rule.window, rule.time_zone, now)): rule for rule in found}
    spent: dict[str, int] = {}
    held: dict[str, int] = {}
    for standing in await rules.standings([rule.id for rule in found]):
        rule = current.get(f"{standing.budget_id}@{standing.first_day}")
        if rule is not None:
            spent[rule.id], held[rule.id] = standing.spent, standing.held
    # What no process has asked for yet has no pool: the rows say what was spent.
    for rule in found:
        if rule.id not in spent:
            spent[rule.id] = await leases.spent_by_rows(rule, period_of(rule.window, rule.time_zone, now))
    return spent, held


def _line(rule: BudgetRule, spent: int, held: int, now: float) -> BudgetLine:
    period = period_of(rule.window, rule.time_zone, now)
    has_limit = not rule.id.endswith("/none")
    limit = rule.limit_nano_usd
    renews = None if period.ends_at >= FAR else datetime.fromtimestamp(period.ends_at, UTC).isoformat()
    return BudgetLine(
        id=rule.id,
        scope=rule.scope,
        name=rule.name,
        window=rule.window,
        time_zone=rule.time_zone,
        is_hard=rule.is_hard,
        limit_usd=usd_text(limit) if has_limit else None,
        spent_usd=usd_text(spent),
        held_usd=usd_text(held),
        used_percent=round(100 * spent / limit, 2) if has_limit and limit else None,
        thresholds=rule.thresholds,
        webhook=rule.webhook,
        since=period.first_day.isoformat(),
        renews_at=renews,
    )
