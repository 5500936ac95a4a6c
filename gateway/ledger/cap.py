"""Monthly caps of this process: what the copies of calls that a rule asks for may still cost."""

from datetime import UTC, datetime

from gateway.core.clock import utc_month
from gateway.core.errors import BudgetExceeded
from gateway.core.money import usd_text


class Cap:
    """One rule's month, in nano-dollars. Invariant: reserved is 0 when no call is in flight."""

    __slots__ = ("limit", "month", "reserved", "spent")

    def __init__(self, limit: int | None, spent: int, month: str) -> None:
        self.limit = limit
        self.spent = spent
        self.reserved = 0
        self.month = month


class Caps:
    """Reserve before a call, settle after it. UTC months; a new month begins with nothing spent."""

    def __init__(self) -> None:
        self._teams: dict[str, Cap] = {}

    def limit(self, team: str, limit_nano_usd: int | None) -> None:
        """Sets a team's monthly limit; None lifts it."""
        self._of(team, None).limit = limit_nano_usd

    def spent(self, team: str, nano_usd: int, month: str) -> None:
        """Says what the books show for a team and month (at the start, and of other processes)."""
        budget = self._of(team, month)
        if budget.month == month:
            budget.spent = nano_usd

    def reserve(self, team: str, nano_usd: int, now: float) -> int:
        """Sets aside what a call can cost at most; gives the amount to settle with.

        Raises BudgetExceeded (429) when nothing is left, or spent + reserved + this would pass the limit.
        """
        budget = self._teams.get(team)
        if budget is None or budget.limit is None:
            return 0
        self._turn(budget, now)
        # A call without a price reserves nothing; it ends all the same where the money has ended.
        if budget.spent >= budget.limit or budget.spent + budget.reserved + nano_usd > budget.limit:
            raise _exceeded(team, budget, now)
        budget.reserved += nano_usd
        return nano_usd

    def settle(self, team: str, reserved: int, cost: int, now: float) -> None:
        """Gives a reservation back and books what the call did cost."""
        budget = self._of(team, None)
        self._turn(budget, now)
        budget.reserved -= reserved
        budget.spent += cost

    def used_ratio(self, team: str, now: float) -> float | None:
        """Share of the limit that is spent or reserved; None without a limit."""
        budget = self._teams.get(team)
        if budget is None or budget.limit is None:
            return None
        self._turn(budget, now)
        return (budget.spent + budget.reserved) / budget.limit if budget.limit else 1.0

    def teams(self) -> list[str]:
        """The teams that have a limit or have spent something."""
        return list(self._teams)

    def state(self, team: str) -> tuple[int | None, int, int]:
        """Limit, spent and reserved, in nano-dollars."""
        budget = self._teams.get(team)
        return (None, 0, 0) if budget is None else (budget.limit, budget.spent, budget.reserved)

    def _of(self, team: str, month: str | None) -> Cap:
        budget = self._teams.get(team)
        if budget is None:
            budget = self._teams[team] = Cap(None, 0, month or "")
        if month is not None and budget.month < month:
            budget.month, budget.spent = month, 0
        return budget

    @staticmethod
    def _turn(budget: Cap, now: float) -> None:
        month = utc_month(now)
        # Never back: a clock that jumps must not open last month's budget again.
        if month > budget.month:
            budget.month, budget.spent = month, 0


def _exceeded(team: str, budget: Cap, now: float) -> BudgetExceeded:
    moment = datetime.fromtimestamp(now, UTC)
    year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return BudgetExceeded(
        f"Team {team!r} has spent {usd_text(budget.spent)} of {usd_text(budget.limit)} USD for {moment:%B}"
        f"{_reserved(budget)}. The budget renews on {year}-{month:02d}-01 00:00 UTC."
    )


def _reserved(budget: Cap) -> str:
    return f" and holds {usd_text(budget.reserved)} for calls in flight" if budget.reserved else ""
