"""Books in a temporary folder, a clock that is turned by hand, and prices that can be reckoned in the head."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from gateway.core.call import Call, Principal
from gateway.core.clock import Clock
from gateway.core.decision import Decision
from gateway.core.event import UsageEvent
from gateway.core.facts import Facts
from gateway.ledger.durable import Durable
from gateway.ledger.entry import Entry, Ledger
from gateway.ledger.journal import Journal
from gateway.ledger.leases.lender import Lender
from gateway.ledger.leases.limits import Limits
from gateway.ledger.leases.meters import Budgets, Meter
from gateway.ledger.leases.rules import team_budget
from gateway.ledger.records import Record, read_frames
from gateway.pricing.overlay import Price, PriceOverlay
from gateway.pricing.table import PriceTable, table_from
from tests.fakes.calls import NOON
from tests.fakes.pools import MemoryPools


class Hands:
    """The hands of a clock. `wall` and `monotonic` go on together."""

    def __init__(self, wall: float = NOON) -> None:
        self.wall = wall
        self.monotonic = 1_000.0

    def turn(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.wall, monotonic=lambda: self.monotonic)


def prices(model: str = "gpt-4.1-mini", usd_in: str = "1.00", usd_out: str = "2.00") -> PriceTable:
    """One model at 1 and 2 USD per million tokens: 1,000 and 2,000 nano-dollars a token."""
    day = date(2026, 11, 1)
    entry = Price.model_validate(
        {"models": (model,), "input": usd_in, "output": usd_out, "source": "the tests", "read_on": day}
    )
    return table_from(PriceOverlay(prices=(entry,)))


class Books:
    """A ledger and all that it is made of. observed: every event that metrics would count."""

    def __init__(self, folder: Path, table: PriceTable | None = None, segment_bytes: int = 1 << 24) -> None:
        self.hands = Hands()
        self.journal = Journal(folder, segment_bytes)
        self.budgets = Budgets()
        self.pools = MemoryPools()
        self.lender = Lender(self.budgets, self.pools, self.journal.process, self.hands.clock())
        self.limits = Limits()
        self.observed: list[UsageEvent] = []
        self.ledger = Ledger(
            self.journal,
            Durable(self.journal),
            self.lender,
            self.limits,
            table or prices(),
            self.observed.append,
            self.hands.clock(),
        )

    def budget(self, limit_nano_usd: int, team: str = "support") -> Meter:
        """A hard monthly budget whose every nano-dollar this process has been granted."""
        self.budgets.define([team_budget(team, limit_nano_usd)])
        (meter,) = self.budgets.meters(Principal(team, "key_1", "web"), (), self.hands.wall)
        meter.is_known, meter.granted = True, limit_nano_usd
        return meter

    def money(self, team: str = "support") -> tuple[int, int, int]:
        """Limit, spent and reserved of a team's budget."""
        (meter,) = self.budgets.meters(Principal(team, "key_1", "web"), (), self.hands.wall)
        return meter.rule.limit_nano_usd, meter.spent, meter.reserved

    def open(self, call: Call, principal: Principal, decision: Decision, facts: Facts) -> Entry:
        """An entry, admitted and opened; asks no database, so nothing is awaited."""
        admission = self.ledger.admit(call, principal, facts.now)
        opening = self.ledger.open(call, principal, decision, facts, admission)
        try:
            opening.send(None)
        except StopIteration as opened:
            entry: Entry = opened.value
            return entry
        raise AssertionError("the ledger waited for somebody")

    def records(self) -> list[Record]:
        """Everything the journal's files hold, in order."""
        found: list[Record] = []
        for path in sorted(self.journal.folder.glob("*.journal")):
            found += [record for record, _ in read_frames(path.read_bytes())]
        return found


@contextmanager
def books(folder: Path, table: PriceTable | None = None, segment_bytes: int = 1 << 24) -> Iterator[Books]:
    """Open books; closed at the end, their files left where they are."""
    made = Books(folder, table, segment_bytes)
    try:
        yield made
    finally:
        made.journal.close()
