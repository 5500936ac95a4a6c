"""Leases over the life of replicas, the same over SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.core.event import Closing
from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.adjustments.store import Adjustments
from gateway.ledger.leases.lender import Lender
from gateway.ledger.leases.rules import BudgetRule, period_of, pool_id, team_budget
from gateway.ledger.leases.store import Granted, LeaseStore, Request
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import LedgerStore
from tests.fakes.books import Books, books
from tests.fakes.calls import DIRECT, NOON, SUPPORT, chat, closed, decided, facts

LIMIT = 10**9
RULE = team_budget("support", LIMIT)
PERIOD = period_of("month", "UTC", NOON)
POOL = pool_id(RULE, PERIOD)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'leases.db'}"
    made = Database(url if request.param == "sqlite" else request.getfixturevalue("postgres").fresh())
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
    assert await leases.beat("alive") == (False, ["alive"])
    assert (await ask(leases, "alive", 0, 1)).granted > 0


async def test_who_was_only_taken_for_dead_hears_of_it_and_keeps_what_it_owes(database: Database) -> None:
    leases = LeaseStore(database)
    await leases.join("paused")
    await ask(leases, "paused", 0, LIMIT // 2)
    await leases.close("paused")
    assert await leases.beat("paused") == (True, [])
    await leases.join("paused")
    assert (await leases.beat("paused"))[1] == ["paused"]
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
