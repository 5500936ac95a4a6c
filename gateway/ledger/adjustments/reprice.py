"""What rows would cost at other prices, and the corrections that follow."""

from collections.abc import Callable, Iterable
from hashlib import blake2b

from gateway.core.usage import Usage
from gateway.core.values import Value
from gateway.pricing.rates import Rates, cost_by_kind

# Rates of a model for a row of that Unix time; None for no price.
RatesOf = Callable[[str, float], Rates | None]


class PricedRow(Value, frozen=True):
    """One usage row, as far as its price matters.

    cost_nano_usd: as booked, None without a price. repriced_nano_usd: the sum of earlier repricings of it. has_price:
    one of those gave a row without a price one. by_hand: a person gave it its price. names: of its sums.
    """

    id: str
    at: float
    team: str
    model: str
    usage: Usage | None
    is_free: bool
    cost_nano_usd: int | None
    repriced_nano_usd: int
    has_price: bool
    by_hand: bool
    names: tuple[str, ...]
    pools: tuple[str, ...] = ()

    @property
    def now_nano_usd(self) -> int | None:
        """What it costs with its repricings; None without a price."""
        if self.cost_nano_usd is None and not self.has_price:
            return None
        return (self.cost_nano_usd or 0) + self.repriced_nano_usd


class Correction(Value, frozen=True):
    """What is added to one row's cost, and to the budgets that it was charged to (`pools`).

    gives_price: the row had none until now.
    """

    id: str
    run: str
    row: PricedRow
    delta_nano_usd: int
    gives_price: bool
    price_source: str


class TeamChange(Value, frozen=True):
    """One team's rows of one model. before and after: nano-dollars of the rows that have a price.

    rows: all that were looked at. changed: those whose cost becomes another. priced: those that get their first price.
    unpriced: those that stay without one.
    """

    team: str
    model: str
    rows: int
    changed: int
    priced: int
    unpriced: int
    before_nano_usd: int
    after_nano_usd: int


class Changes:
    """Adds up what repricing does, by team and model."""

    def __init__(self) -> None:
        self.rows = 0
        self.changed = 0
        self._sums: dict[tuple[str, str], list[int]] = {}

    def count(self, row: PricedRow, correction: Correction | None) -> None:
        """Counts one row and what becomes of it."""
        now = row.now_nano_usd
        after = now if correction is None else (now or 0) + correction.delta_nano_usd
        is_unpriced = after is None and not row.by_hand and not row.is_free
        added = (1, correction is not None, correction is not None and correction.gives_price, is_unpriced)
        sums = self._sums.setdefault((row.team, row.model), [0] * 6)
        for place, number in enumerate((*added, now or 0, after or 0)):
            sums[place] += number
        self.rows += 1
        self.changed += correction is not None

    def lines(self) -> list[TeamChange]:
        """By team and model."""
        return [TeamChange(team, model, *sums) for (team, model), sums in sorted(self._sums.items())]


def corrections(rows: Iterable[PricedRow], rates_of: RatesOf, run: str, changes: Changes) -> list[Correction]:
    """The corrections that bring rows to these rates; none for rows that are there already.

    A row without tokens, or whose model has no price at these rates, stays as it is, and so does one that was free
    or that a person gave its price.
    """
    found = []
    for row in rows:
        correction = None if row.is_free or row.by_hand or row.usage is None else _correction(row, rates_of, run)
        changes.count(row, correction)
        if correction is not None:
            found.append(correction)
    return found


def _correction(row: PricedRow, rates_of: RatesOf, run: str) -> Correction | None:
    rates = rates_of(row.model, row.at)
    kinds = cost_by_kind(rates, row.usage) if rates is not None and row.usage is not None else None
    if rates is None or kinds is None:
        return None
    now = row.now_nano_usd
    wanted = sum(nano for _, nano in kinds)
    if wanted == now:
        return None
    return Correction(correction_id(run, row.id), run, row, wanted - (now or 0), now is None, rates.source)


def correction_id(run: str, event_id: str) -> str:
    """One id for a run and a row: a row is corrected by a run once, also when its batch is tried again."""
    return "adj_" + blake2b(f"{run}\x1f{event_id}".encode(), digest_size=16).hexdigest()
