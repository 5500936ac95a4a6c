"""Leases over the life of replicas, the same over SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.core.errors import BudgetExceeded
from gateway.core.event import Closing, UsageEvent
from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.adjustments.store import Adjustments
from gateway.ledger.leases.defined.store import RuleStore
from gateway.ledger.leases.lender import Lender
from gateway.ledger.leases.limits import Limits
from gateway.ledger.leases.meters import Budgets
from gateway.ledger.leases.rules import BudgetRule, period_of, pool_id, team_budget
from gateway.ledger.leases.store import Granted, LeaseStore, Request
from gateway.ledger.leases.watch import Watch
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import LedgerStore
from tests.fakes.books import Books, Hands, books
from tests.fakes.calls import DIRECT, NOON, SUPPORT, chat, closed, decided, facts

LIMIT = 10**9
RULE = team_budget("support", LIMIT)
PERIOD = period_of("month", "UTC", NOON)
POOL = pool_id(RULE, PERIOD)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'leases.db'}"
    made = Database(url if request.param == "sqlite" else await request.getfixturevalue("postgres").migrated())
    await upgrade(made)
    yield made
    await made.close()


async def ask(leases: LeaseStore, replica: str, owed: int, want: int, rule: BudgetRule = RULE) -> Granted:
    pool = pool_id(rule, PERIOD)
    (found,) = await leases.exchange(replica, [Request(rule, pool, PERIOD.starts_at, PERIOD.ends_at, owed, want)])
    return found


async def number(database: Database, query: str) -> int:
    async with database.session() as session:
        return int((await session.execute(text(query))).scalar_one())


async def test_who_has_not_been_heard_of_for_a_minute_gives_back_what_it_held(database: Database) -> None:
    leases = LeaseStore(database)
    for replica in ("dead", "alive"):
        await leases.join(replica)
    await ask(leases, "dead", 0, LIMIT)
    assert (await ask(leases, "alive", 0, 1)).granted == 0
    async with database.session() as session:
        await session.execute(text("UPDATE replicas SET seen_at = seen_at - 61 WHERE id = 'dead'"))
    assert await leases.beat("alive", may_close=True) == (False, ["alive"])
    assert (await ask(leases, "alive", 0, 1)).granted > 0


async def test_who_was_only_taken_for_dead_hears_of_it_and_keeps_what_it_owes(database: Database) -> None:
    leases = LeaseStore(database)
    await leases.join("paused")
    await ask(leases, "paused", 0, LIMIT // 2)
    await leases.close("paused")
    assert await leases.beat("paused", may_close=True) == (True, [])
    await leases.join("paused")
    assert (await leases.beat("paused", may_close=True))[1] == ["paused"]
    assert (await ask(leases, "paused", LIMIT // 3, 0)).granted >= LIMIT // 3


def call(made: Books) -> None:
    entry = made.open(chat(), SUPPORT, decided(), facts())
    entry.start(DIRECT)
    entry.close(Closing("ok", 200, usage=Usage(100, 10)))


async def test_a_killed_process_is_charged_for_what_it_left_and_holds_nothing_more(
    database: Database, tmp_path: Path
) -> None:
    """Its rows, finished and orphaned, are charged when they are found; the rest of its lease comes back at once."""
    leases = LeaseStore(database)
    store = LedgerStore(database, leases)
    with books(tmp_path / "journal") as dying:
        await leases.join(dying.journal.process)
        dying.budget(LIMIT)
        await ask(leases, dying.journal.process, 0, LIMIT)
        for _ in range(5):
            call(dying)
        await Shipper(dying.ledger, store, dying.observed.append, leases).ship_all()
        for _ in range(3):
            call(dying)
        dying.open(chat(), SUPPORT, decided(), facts()).start(DIRECT)
    with books(tmp_path / "journal") as living:
        await leases.join(living.journal.process)
        assert (await ask(leases, living.journal.process, 0, 1)).granted == 0
        assert await Shipper(living.ledger, store, living.observed.append, leases).recover() == 1
        spent = await number(database, "SELECT sum(cost_nano_usd) FROM usage_events")
        assert await number(database, "SELECT count(*) FROM usage_events") == 9
        assert await number(database, "SELECT base_nano_usd + spent_nano_usd FROM budget_pools") == spent
        assert await number(database, "SELECT sum(cost_nano_usd) FROM usage_rollups") == spent
        found = await ask(leases, living.journal.process, 0, LIMIT - spent)
        assert (found.granted, found.others, found.spent) == (LIMIT - spent, 0, spent)


async def test_a_process_that_ends_gives_its_lease_back(database: Database, tmp_path: Path) -> None:
    leases = LeaseStore(database)
    with books(tmp_path / "journal") as made:
        await leases.join(made.journal.process)
        made.budgets.define([RULE])
        lender = Lender(made.budgets, leases, made.journal.process, made.hands.clock())
        await lender.fill()
        call(made)
        shipper = Shipper(made.ledger, LedgerStore(database, leases), made.observed.append, leases)
        shipper.start()
        await shipper.stop()
    held = "SELECT sum(granted_nano_usd - shipped_nano_usd) FROM budget_leases"
    assert await number(database, held) == 0
    assert await number(database, "SELECT count(*) FROM replicas WHERE closed_at IS NULL") == 0


@pytest.mark.parametrize(
    ("scope", "name"), [("organisation", "acme"), ("team", "support"), ("key", "key_1"), ("metadata", "app=web mail")]
)
async def test_a_budget_that_is_made_later_begins_with_what_the_books_show(
    database: Database, scope: str, name: str
) -> None:
    """Of its own rows, in its own period, with their corrections."""
    of_it = {"organisation": "acme", "metadata": (("app", "web mail"), ("a", "b"))}
    other = {"team": "sales", "key_id": "key_2", "organisation": "", "metadata": (("app", "web"),)}
    await LedgerStore(database).ship(
        [
            closed(1, cost_nano_usd=1_000, **of_it),
            closed(2, cost_nano_usd=500, **of_it),
            closed(3, cost_nano_usd=77, **other),
            closed(4, cost_nano_usd=99, at=PERIOD.starts_at - 1, **of_it),
            closed(5, cost_nano_usd=None, cost_status="unpriced", **of_it),
        ],
        [],
        {},
    )
    await Adjustments(database).adjust("call_1.1", -200, "a refund", "admin")
    rule = BudgetRule("bud_1", scope, name, "month", "UTC", LIMIT)  # type: ignore[arg-type]
    leases = LeaseStore(database)
    await leases.join("a")
    assert (await ask(leases, "a", 0, 0, rule)).spent == 1_300
    assert await leases.spent_by_rows(rule, PERIOD) == 1_300


async def test_after_an_outage_nobody_is_taken_for_dead_by_who_was_cut_off_as_well(database: Database) -> None:
    """All have been silent; whoever comes back first must not lend out what the others are spending."""
    leases = LeaseStore(database)
    clock = Hands()
    watches = {}
    for name in ("a", "b"):
        budgets, limits = Budgets(), Limits()
        lender = Lender(budgets, leases, name, clock.clock())
        watches[name] = Watch(lender, limits, RuleStore(database), leases, name, clock.clock())
        await watches[name].start()
    beat = watches["a"]._beat
    for _ in range(10):
        clock.turn(2)
        await beat()
    async with database.session() as session:
        await session.execute(text("UPDATE replicas SET seen_at = seen_at - 300"))
    clock.turn(300)
    await beat()
    open_ones = "SELECT count(*) FROM replicas WHERE closed_at IS NULL"
    assert await number(database, open_ones) == 2
    # Who stays silent while others are heard is dead, though.
    async with database.session() as session:
        await session.execute(text("UPDATE replicas SET seen_at = seen_at - 61 WHERE id = 'b'"))
    for _ in range(10):
        clock.turn(2)
        await beat()
    assert await number(database, open_ones) == 1


class Replica:
    """One process's budgets over a real database."""

    def __init__(self, name: str, database: Database, limit: int) -> None:
        self.name, self.database, self.leases = name, database, LeaseStore(database)
        self.store = LedgerStore(database, self.leases)
        self.budgets = Budgets()
        self.set_to(limit)
        self.lender = Lender(self.budgets, self.leases, name, Hands().clock())
        self.calls = 0

    def set_to(self, limit: int | None) -> None:
        self.budgets.define([] if limit is None else [team_budget("support", limit)])

    async def spend(self, cost: int) -> None:
        """One call that costs what was set aside for it, its row shipped."""
        meters = self.budgets.meters(SUPPORT, (), NOON)
        await self.lender.reserve(meters, cost)
        self.budgets.charge(meters, cost)
        self.budgets.release(meters, cost)
        self.calls += 1
        pools = tuple(meter.pool for meter in meters)
        row = closed(self.calls, id=f"{self.name}{self.calls}.1", cost_nano_usd=cost, pools=pools)
        await self.store.ship([row], [], {}, replica=self.name)
        self.budgets.shipped(dict.fromkeys(pools, cost))

    async def spend_all(self, cost: int) -> int:
        """How many calls of this cost are served before one is refused."""
        served = 0
        while served < 1_000:
            try:
                await self.spend(cost)
            except BudgetExceeded:
                return served
            served += 1
        raise AssertionError("nobody is ever refused")


async def test_a_budget_that_is_lifted_and_set_again_is_not_paid_out_twice(database: Database) -> None:
    replica = Replica("a", database, 1_000)
    await replica.leases.join("a")
    assert await replica.spend_all(100) == 10
    replica.set_to(None)
    replica.budgets.meters(SUPPORT, (), NOON)
    replica.set_to(1_000)
    assert await replica.spend_all(100) == 0
    replica.set_to(1_500)
    assert await replica.spend_all(100) == 5
    assert await number(database, "SELECT sum(cost_nano_usd) FROM usage_events") == 1_500


async def test_what_was_spent_while_a_budget_was_lifted_counts_when_it_is_set_again(database: Database) -> None:
    replica = Replica("a", database, 1_000)
    await replica.leases.join("a")
    await replica.spend(100)
    replica.set_to(None)
    for _ in range(5):
        await replica.spend(100)
    replica.set_to(1_000)
    assert await replica.spend_all(100) == 4
    other = Replica("b", database, 1_000)
    await other.leases.join("b")
    assert await other.spend_all(1) == 0


async def test_a_lower_limit_binds_at_once(database: Database) -> None:
    replica = Replica("a", database, 100_000)
    await replica.leases.join("a")
    await replica.spend(100)
    assert next(iter(replica.budgets)).granted >= 20_000
    replica.set_to(1_000)
    assert await replica.spend_all(100) == 9


async def test_a_pool_that_a_row_has_made_still_learns_what_was_there_before(database: Database) -> None:
    """A question that was embedded for a call that was then refused, or a job that ended: nobody had asked yet."""
    leases = LeaseStore(database)
    store = LedgerStore(database, leases)
    await leases.join("a")
    await store.ship([closed(1, cost_nano_usd=700)], [], {})
    await store.ship([closed(2, cost_nano_usd=200, pools=(POOL,))], [], {}, replica="a")
    assert (await ask(leases, "a", 200, 0)).spent == 900


async def test_the_own_end_of_a_call_wins_over_what_another_booked_for_it(database: Database) -> None:
    """A replica that was cut off for a minute was taken for dead, and its call in flight for interrupted."""
    leases = LeaseStore(database)
    store = LedgerStore(database, leases)
    guess = closed(1, outcome="interrupted", cost_nano_usd=20, cost_status="estimated", pools=(POOL,))
    await store.ship([guess], [], {}, replica="a")
    end = closed(1, cost_nano_usd=11_000, pools=(POOL,))
    for _ in range(3):
        await store.ship([end, closed(2, cost_nano_usd=5, pools=(POOL,))], [], {}, replica="a")
    assert await number(database, "SELECT sum(cost_nano_usd + adjusted_nano_usd) FROM usage_rollups") == 11_005
    assert await number(database, "SELECT spent_nano_usd FROM budget_pools") == 11_005
    assert await number(database, "SELECT count(*) FROM adjustments") == 1
    assert await number(database, "SELECT count(*) FROM usage_events") == 2


async def test_a_budget_made_after_old_rows_were_dropped_knows_what_they_cost(database: Database) -> None:
    rule = BudgetRule("bud_year", "team", "support", "year", "UTC", LIMIT)
    period = period_of("year", "UTC", NOON)
    await LedgerStore(database).ship([closed(1, at=period.starts_at + 5, cost_nano_usd=900), closed(2)], [], {})
    async with database.session() as session:
        await session.execute(text(f"DELETE FROM usage_events WHERE at < {NOON - 86_400}"))
    assert await LeaseStore(database).spent_by_rows(rule, period) == 900 + 12_000


async def test_a_nul_in_metadata_spoils_no_budget_and_no_report(database: Database) -> None:
    rows = [closed(1, metadata=(("app", "a\0b"),)), closed(2, metadata=(("app", "web"),))]
    await LedgerStore(database).ship(rows, [], {})
    rule = BudgetRule("bud_1", "metadata", "app=web", "month", "UTC", LIMIT)
    assert await LeaseStore(database).spent_by_rows(rule, PERIOD) == 12_000


async def test_recoveries_of_many_rows_at_once_never_wait_for_each_other(database: Database) -> None:
    """Rows of teams in adverse orders, more than go into one statement."""
    leases = LeaseStore(database)

    def rows(name: str, order: list[int]) -> list[UsageEvent]:
        return [
            closed(n, id=f"{name}{turn}.{n}", team=f"team-{n}", pools=(f"team/team-{n}/month@2026-11-01",))
            for turn, n in enumerate(order)
        ]

    up, down = list(range(40)) * 30, list(reversed(range(40))) * 30
    stores = [LedgerStore(database, leases) for _ in range(2)]
    for turn in range(3):
        await asyncio.gather(
            stores[0].ship(rows(f"u{turn}-", up), [], {"u": turn}, replica="u"),
            stores[1].ship(rows(f"d{turn}-", down), [], {"d": turn}, replica="d"),
        )
    assert await number(database, "SELECT sum(attempts) FROM usage_rollups") == 2 * 3 * 1_200
