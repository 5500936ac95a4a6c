"""Who may spend how much in which window, and when a window begins and ends."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.core.errors import InvalidRequest
from gateway.core.values import Value

Scope = Literal["organisation", "team", "key", "metadata"]
Window = Literal["day", "week", "month", "quarter", "year", "total"]
SCOPES: tuple[Scope, ...] = ("organisation", "team", "key", "metadata")
WINDOWS: tuple[Window, ...] = ("day", "week", "month", "quarter", "year", "total")
EVER = date(1970, 1, 1)
FAR = 253_402_300_799.0


class BudgetRule(Value, frozen=True):
    """One budget. name: of whom; for metadata `key=value`. thresholds: percents of the limit that are told once each.

    is_hard: a call that does not fit is refused; else the budget only counts and tells. webhook: '' for none.
    """

    id: str
    scope: Scope
    name: str
    window: Window
    time_zone: str
    limit_nano_usd: int
    is_hard: bool = True
    thresholds: tuple[int, ...] = ()
    webhook: str = ""


class LimitRule(Value, frozen=True):
    """How fast an organisation, team or key may go, over all replicas together; None is no limit."""

    scope: Scope
    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


class Period(Value, frozen=True):
    """One window of a budget: its first day, and Unix times; the end is not in it."""

    first_day: date
    starts_at: float
    ends_at: float


def team_budget(team: str, limit_nano_usd: int) -> BudgetRule:
    """A team's monthly budget in UTC, as it stands with the team itself."""
    return BudgetRule(f"team/{team}/month", "team", team, "month", "UTC", limit_nano_usd)


def effective(teams: Mapping[str, int | None], defined: Iterable[BudgetRule]) -> list[BudgetRule]:
    """The budgets that hold: those that are defined, and the monthly ones that stand with teams.

    One that is defined for a team's month in UTC stands in place of the team's own. teams: nano-dollars, None for none.
    """
    found = list(defined)
    own = [team_budget(team, limit) for team, limit in sorted(teams.items()) if limit is not None]
    return [*(rule for rule in own if team_month(found, rule.name) is None), *found]


def team_month(defined: Iterable[BudgetRule], team: str) -> BudgetRule | None:
    """The budget that is defined for a team's month in UTC, or None."""
    for rule in defined:
        if (rule.scope, rule.name, rule.window, rule.time_zone) == ("team", team, "month", "UTC"):
            return rule
    return None


def pool_id(rule: BudgetRule, period: Period) -> str:
    """What a budget is called in one of its periods."""
    return f"{rule.id}@{period.first_day.isoformat()}"


def zone_of(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises InvalidRequest for a name that nobody knows."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidRequest(
            f"{name!r} is no time zone; write it such as Europe/Berlin or UTC.", param="time_zone"
        ) from None


def period_of(window: Window, time_zone: str, now: float) -> Period:
    """The period that `now` (Unix seconds) lies in: calendar windows at local midnight; a week begins on Monday."""
    if window == "total":
        return Period(EVER, 0.0, FAR)
    zone = zone_of(time_zone)
    today = datetime.fromtimestamp(now, zone).date()
    first, last = _bounds(window, today)
    return Period(first, _midnight(first, zone), _midnight(last, zone))


def _bounds(window: Window, today: date) -> tuple[date, date]:
    if window == "day":
        return today, today + timedelta(days=1)
    if window == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    months = {"month": 1, "quarter": 3, "year": 12}[window]
    first = today.replace(month=(today.month - 1) // months * months + 1, day=1)
    after = first.month - 1 + months
    return first, first.replace(year=first.year + after // 12, month=after % 12 + 1)


def _midnight(day: date, zone: ZoneInfo) -> float:
    # Where summer time skips midnight, the first moment of the day is the one that the zone says it is.
    return datetime.combine(day, time(), zone).astimezone(UTC).timestamp()
