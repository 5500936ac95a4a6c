"""Budgets as this process spends them: reserve before a call, settle after it, without asking anybody."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from gateway.core.call import Principal
from gateway.core.errors import BudgetExceeded
from gateway.core.money import usd_text
from gateway.ledger.leases.rules import BudgetRule, Period, Scope, period_of, pool_id, zone_of

Metadata = tuple[tuple[str, str], ...]
WHO: tuple[Scope, ...] = ("organisation", "team", "key")
WHOSE = {"organisation": "Organisation", "team": "Team", "key": "Key", "metadata": "Metadata"}


class Meter:
    """One budget in one period, in this process. Amounts are nano-dollars, sums over the period.

    granted: what this process may spend without asking. used: what its calls have cost. shipped: the part of `used`
    that is in the database. reserved: set aside for calls in flight; 0 when there are none. elsewhere: what the
    database showed, at the last look, as spent by anybody but for this process's own part. is_known: the database
    has been asked once. said: thresholds that have been told. touched: used since it was last filled up. hopes: what
    calls that wait for a grant need together. turn: held by the one that asks for all of them; lock: by whoever
    changes the grant. resets: the database must hear that less is kept than it granted. refused, refused_at: the
    last amount that nobody had room for, and when (monotonic seconds).
    """

    __slots__ = (
        "elsewhere",
        "granted",
        "hopes",
        "is_known",
        "lock",
        "period",
        "pool",
        "refused",
        "refused_at",
        "reserved",
        "resets",
        "rule",
        "said",
        "shipped",
        "touched",
        "turn",
        "used",
    )

    def __init__(self, rule: BudgetRule, period: Period) -> None:
        self.rule = rule
        self.period = period
        self.pool = pool_id(rule, period)
        self.granted = 0
        self.used = 0
        self.shipped = 0
        self.reserved = 0
        self.elsewhere = 0
        self.is_known = False
        self.touched = True
        self.said: set[int] = set()
        self.hopes = 0
        self.resets = False
        self.refused = 0
        self.refused_at = 0.0
        self.turn = asyncio.Lock()
        self.lock = asyncio.Lock()

    @property
    def spent(self) -> int:
        """What is known to be spent, of all replicas."""
        return self.elsewhere + self.used

    @property
    def owed(self) -> int:
        """What the grant must cover at the least."""
        return self.used + self.reserved

    @property
    def used_ratio(self) -> float:
        """Spent and reserved share of the limit."""
        limit = self.rule.limit_nano_usd
        return (self.spent + self.reserved) / limit if limit else 1.0

    def lacks(self, nano_usd: int) -> bool:
        """Whether the grant has no room for this much more. A call without a price still needs some money left."""
        if not self.rule.is_hard:
            return not self.is_known
        return not self.is_known or self.owed + nano_usd > self.granted

    def is_over(self, nano_usd: int) -> bool:
        """Whether this much more is past the limit for certain: what is spent stays spent."""
        limit = self.rule.limit_nano_usd
        return self.rule.is_hard and (self.spent >= limit or self.spent + nano_usd > limit)

    def change(self, rule: BudgetRule) -> None:
        """Takes over what the budget has become. A lower limit binds at once: grants must be asked for anew."""
        limit = self.rule.limit_nano_usd
        if rule.limit_nano_usd < limit or rule.is_hard != self.rule.is_hard:
            self.granted = min(self.granted, self.owed)
            self.resets = True
        if rule.limit_nano_usd != limit:
            self.said.clear()
            self.refused_at = 0.0
        self.rule = rule
        self.touched = True

    def refuse(self, nano_usd: int, now: float) -> None:
        """Notes that nobody has room for this much."""
        self.refused, self.refused_at = nano_usd, now

    def is_refused(self, nano_usd: int, since: float) -> bool:
        """Whether somebody asked for this much or less since then, and was refused."""
        return self.refused_at >= since and nano_usd >= self.refused

    def exceeded(self) -> BudgetExceeded:
        """What a caller is told."""
        rule, ends = self.rule, datetime.fromtimestamp(min(self.period.ends_at, 4e9), UTC)
        held = f" and holds {usd_text(self.reserved)} for calls in flight" if self.reserved else ""
        renews = "."
        if rule.window != "total":
            local = ends.astimezone(zone_of(rule.time_zone))
            renews = f" for {_window_told(self)}{held}. The budget renews on {local:%Y-%m-%d %H:%M} {rule.time_zone}."
        else:
            renews = f"{held}. The budget does not renew."
        spent = f"has spent {usd_text(self.spent)} of {usd_text(rule.limit_nano_usd)} USD"
        return BudgetExceeded(f"{WHOSE[rule.scope]} {rule.name!r} {spent}{renews}")


def _window_told(meter: Meter) -> str:
    first = meter.period.first_day
    if meter.rule.window == "month":
        return f"{first:%B}"
    if meter.rule.window == "day":
        return first.isoformat()
    return f"the {meter.rule.window} of {first.isoformat()}"


class Budgets:
    """All budgets that this process knows. `define` replaces them; what is in flight goes on with what it has."""

    def __init__(self) -> None:
        self._rules: dict[tuple[Scope, str], list[BudgetRule]] = {}
        self._current: dict[str, Meter] = {}
        # Of every pool that this process has had to do with in a period that is not over.
        self._meters: dict[str, Meter] = {}
        self._of: dict[tuple[str, str, str], tuple[BudgetRule, ...]] = {}
        self._by_metadata = False
        # Whether nobody has a budget: then nobody need be looked up.
        self.is_empty = True

    def define(self, rules: Iterable[BudgetRule]) -> None:
        """Takes over a new set of budgets. One whose limit changed keeps what it has counted."""
        self._rules = {}
        known = set()
        for rule in rules:
            self._rules.setdefault((rule.scope, rule.name), []).append(rule)
            known.add(rule.id)
            meter = self._current.get(rule.id)
            if meter is not None:
                meter.change(rule)
        for gone in self._current.keys() - known:
            del self._current[gone]
        self._of.clear()
        self.is_empty = not self._rules
        self._by_metadata = any(scope == "metadata" for scope, _ in self._rules)

    def meters(self, principal: Principal, metadata: Metadata, now: float) -> tuple[Meter, ...]:
        """The budgets that a call of this principal is charged to."""
        who = (principal.organisation, principal.team, principal.key_id)
        rules = self._of.get(who)
        if rules is None:
            found = zip(WHO, who, strict=True)
            rules = tuple(rule for scope, name in found for rule in self._rules.get((scope, name), ()))
            self._of[who] = rules
        if self._by_metadata and metadata:
            pairs = (f"{key}={value}" for key, value in metadata)
            rules = (*rules, *(rule for pair in pairs for rule in self._rules.get(("metadata", pair), ())))
        if not rules:
            return ()
        return tuple([self._meter(rule, now) for rule in rules])

    def _meter(self, rule: BudgetRule, now: float) -> Meter:
        meter = self._current.get(rule.id)
        # Never back: a clock that jumps must not open last month's budget again.
        if meter is None or now >= meter.period.ends_at:
            fresh = Meter(rule, period_of(rule.window, rule.time_zone, now))
            # A budget that was lifted and is set again goes on with what it had: its lease in the database does too.
            meter = self._current[rule.id] = self._meters.setdefault(fresh.pool, fresh)
            if meter is not fresh:
                meter.change(rule)
                meter.is_known = False
        return meter

    def reserve(self, meters: tuple[Meter, ...], nano_usd: int) -> Meter | None:
        """Sets this much aside in all of them, or in none; gives the first that must be granted more before.

        Raises BudgetExceeded (429) when one is past its limit for certain.
        """
        for meter in meters:
            if meter.is_known and meter.is_over(nano_usd):
                raise meter.exceeded()
            if meter.lacks(nano_usd):
                return meter
        for meter in meters:
            meter.reserved += nano_usd
        return None

    def charge(self, meters: tuple[Meter, ...], nano_usd: int) -> None:
        """Books what an attempt has cost."""
        for meter in meters:
            meter.used += nano_usd
            meter.touched = True

    def release(self, meters: tuple[Meter, ...], nano_usd: int) -> None:
        """Gives a reservation back."""
        for meter in meters:
            meter.reserved -= nano_usd

    def shipped(self, costs: dict[str, int]) -> None:
        """Says what of each pool has arrived in the database."""
        for pool, cost in costs.items():
            meter = self._meters.get(pool)
            if meter is not None:
                meter.shipped += cost

    def __iter__(self) -> Iterator[Meter]:
        return iter(list(self._meters.values()))

    def all_current(self, now: float) -> list[Meter]:
        """A meter for every budget but those of one metadata value or key, which are made when they are used.

        Those of periods that are over are forgotten once everything of them has arrived.
        """
        for pool, meter in list(self._meters.items()):
            if now >= meter.period.ends_at and not meter.reserved and meter.used == meter.shipped:
                del self._meters[pool]
        everyday = [
            rule for (scope, _), rules in self._rules.items() if scope in {"organisation", "team"} for rule in rules
        ]
        return [self._meter(rule, now) for rule in everyday]

    def teams_used(self) -> dict[str, float]:
        """The share used of each team's fullest hard budget."""
        found: dict[str, float] = {}
        for meter in self._current.values():
            if meter.rule.scope == "team" and meter.rule.is_hard:
                found[meter.rule.name] = max(meter.used_ratio, found.get(meter.rule.name, 0.0))
        return found

    @staticmethod
    def used_ratio(meters: tuple[Meter, ...]) -> float | None:
        """The share used of the fullest hard budget among these; None without one."""
        ratios = [meter.used_ratio for meter in meters if meter.rule.is_hard]
        return max(ratios) if ratios else None
