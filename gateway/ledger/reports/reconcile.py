"""The books beside the provider's own count, by UTC day, model and tier: quantities first, dollars second."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from gateway.core.errors import InvalidRequest
from gateway.core.money import usd_text
from gateway.core.values import Value
from gateway.ledger.reports.store import Amounts, ReportStore
from gateway.pricing.model_ids import undated
from gateway.upstream.organization import Organization, ProviderCount

Status = Literal["match", "ours_missing", "theirs_missing", "differs"]
Key = tuple[str, str, str, str]
QUANTITIES = ("input_tokens", "cached_tokens", "output_tokens", "requests")
EMBEDDINGS = frozenset({"embeddings", "retrieval", "ingest"})
# Billed by other meters than tokens of a completion, and counted by the provider elsewhere.
ELSEWHERE = frozenset({"passthrough", "training", "rerank"})
# Providers give costs as binary fractions: a millionth of a dollar a day is no difference.
ROUNDING_NANO_USD = 1_000
MOST_DAYS = 366


class Quantities(Value, frozen=True):
    """Tokens and requests; a request is an attempt that was sent. cached_tokens are a part of input_tokens."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0


class Compared(Value, frozen=True):
    """One day, kind (completions, embeddings), model and tier. difference: ours less theirs. reasons: likely ones."""

    day: str
    kind: str
    model: str
    tier: str
    status: Status
    ours: Quantities
    theirs: Quantities
    difference: Quantities
    reasons: tuple[str, ...] = ()


class ComparedCost(Value, frozen=True):
    """One day in dollars: what the books say of the upstream, and what the account was charged."""

    day: str
    status: Status
    ours_nano_usd: int
    theirs_nano_usd: int
    difference_usd: str
    reasons: tuple[str, ...] = ()


class Reconciliation(Value, frozen=True):
    """since, until: UTC days; until is not included. agrees: nothing differs beyond the tolerance."""

    upstream: str
    since: str
    until: str
    tolerance: float
    agrees: bool
    lines: tuple[Compared, ...]
    costs: tuple[ComparedCost, ...]


async def reconcile(
    store: ReportStore,
    organization: Organization,
    upstream: str,
    since: str,
    until: str,
    tolerance: float = 0.0,
    api_key_ids: Sequence[str] = (),
) -> Reconciliation:
    """Compares a span of UTC days. tolerance: the share of the larger number that a difference may have (0 to 1).

    api_key_ids: the provider's ids of the keys that this gateway uses; costs are then not compared, since the
    provider does not tell them by key. Raises InvalidRequest for a span or a tolerance that cannot be, and what the
    provider's API raises.
    """
    first, last = _day(since, "since"), _day(until, "until")
    if not first < last <= first + timedelta(days=MOST_DAYS):
        raise InvalidRequest(f"until is {until}; it must be 1 to {MOST_DAYS} days after since.", param="until")
    if not 0 <= tolerance < 1:
        raise InvalidRequest(f"tolerance is {tolerance}; it must be 0 or more and less than 1.", param="tolerance")
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() for day in (first, last))
    sums = await store.sums(["day", "upstream", "model", "service_tier", "endpoint"], start, end)
    ours = [one for one in sums if one.group["upstream"] == upstream]
    lines = compared(ours, await organization.usage(first, last, api_key_ids), tolerance)
    costs = [] if api_key_ids else compared_costs(ours, await organization.costs(first, last), tolerance)
    agrees = all(line.status == "match" for line in lines) and all(cost.status == "match" for cost in costs)
    return Reconciliation(upstream, since, until, tolerance, agrees, tuple(lines), tuple(costs))


def compared(ours: Iterable[Amounts], theirs: Iterable[ProviderCount], tolerance: float) -> list[Compared]:
    """Every day, kind, model and tier that either side knows. Snapshots of a model are one, with its plain name."""
    here: dict[Key, Quantities] = {}
    there: dict[Key, Quantities] = {}
    estimated: dict[Key, int] = {}
    for one in ours:
        group = {name: value or "" for name, value in one.group.items()}
        if group["endpoint"] in ELSEWHERE:
            continue
        kind = "embeddings" if group["endpoint"] in EMBEDDINGS else "completions"
        key = (group["day"], kind, undated(group["model"]), group["service_tier"])
        counted = Quantities(one.input_tokens, one.cached_tokens, one.output_tokens, one.attempts)
        here[key] = _plus(here.get(key, Quantities()), counted)
        estimated[key] = estimated.get(key, 0) + one.estimated
    for count in theirs:
        key = (count.day.isoformat(), count.kind, undated(count.model), count.tier)
        counted = Quantities(count.input_tokens, count.cached_tokens, count.output_tokens, count.requests)
        there[key] = _plus(there.get(key, Quantities()), counted)
    found = []
    for key in sorted(here.keys() | there.keys()):
        mine, yours = here.get(key, Quantities()), there.get(key, Quantities())
        away = Quantities(*(getattr(mine, name) - getattr(yours, name) for name in QUANTITIES))
        pairs = [(getattr(mine, name), getattr(yours, name)) for name in QUANTITIES]
        status = _status(pairs, tolerance, 0)
        reasons = () if status == "match" else _reasons(key, away, estimated.get(key, 0), here, there)
        found.append(Compared(*key, status, mine, yours, away, reasons))
    return found


def compared_costs(ours: Iterable[Amounts], theirs: Mapping[date, int], tolerance: float) -> list[ComparedCost]:
    """Every day in dollars."""
    here: dict[str, int] = {}
    unpriced: dict[str, int] = {}
    for one in ours:
        day = one.group["day"] or ""
        here[day] = here.get(day, 0) + one.cost_nano_usd
        unpriced[day] = unpriced.get(day, 0) + one.unpriced
    there = {day.isoformat(): nano for day, nano in theirs.items()}
    found = []
    for day in sorted(here.keys() | {day for day, nano in there.items() if nano}):
        mine, yours = here.get(day, 0), there.get(day, 0)
        status = _status([(mine, yours)], tolerance, ROUNDING_NANO_USD)
        reasons = [f"{unpriced[day]} of our attempts have no price"] if unpriced.get(day) else []
        if status == "match":
            reasons = []
        elif not reasons:
            reasons.append("where quantities match, a price differs: see `gateway prices diff`; else see them first")
        found.append(ComparedCost(day, status, mine, yours, usd_text(mine - yours), tuple(reasons)))
    return found


def _status(pairs: Sequence[tuple[int, int]], tolerance: float, rounding: int) -> Status:
    if all(abs(mine - yours) <= max(rounding, tolerance * max(abs(mine), abs(yours))) for mine, yours in pairs):
        return "match"
    if not any(mine for mine, _ in pairs):
        return "ours_missing"
    return "differs" if any(yours for _, yours in pairs) else "theirs_missing"


def _reasons(
    key: Key, away: Quantities, estimated: int, here: Mapping[Key, Quantities], there: Mapping[Key, Quantities]
) -> tuple[str, ...]:
    day, kind, model, tier = key
    found = []
    if estimated:
        found.append(f"{estimated} of our attempts are estimates: their callers left, or no usage came")
    tiers = {other[3] for other in here.keys() | there.keys() if other[:3] == (day, kind, model)} - {tier}
    if tiers and (key in here) != (key in there):
        found.append(
            f"it may be counted under another tier of the same model: {', '.join(sorted(tiers)) or 'standard'}"
        )
    if away.requests < 0 or away.input_tokens < 0:
        found.append("calls that did not come through this gateway, or a key that others use too")
    elif not estimated:
        found.append("the provider's count may still be coming in, or goes by other names of models")
    if away.requests > 0:
        found.append("attempts that the provider refused are requests here, and may be none there")
    found.append("a call over midnight UTC is booked here on the day it began")
    return tuple(found)


def _plus(one: Quantities, two: Quantities) -> Quantities:
    return Quantities(*(getattr(one, name) + getattr(two, name) for name in QUANTITIES))


def _day(written: str, name: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError:
        told = f"{name} is {written!r}; it must be a UTC day such as 2026-11-01."
        raise InvalidRequest(told, param=name) from None
