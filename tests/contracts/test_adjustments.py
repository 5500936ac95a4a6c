"""Corrections, the same over SQLite and PostgreSQL: rows stay, sums follow, twice is once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.core.errors import InvalidRequest, NotFound
from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.adjustments.store import ROWS_AT_ONCE, Adjustments, Span
from gateway.ledger.adjustments.what_if import of_their_day, price_difference
from gateway.ledger.leases.store import LeaseStore
from gateway.ledger.store import LedgerStore
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.table import PriceTable, table_from
from tests.fakes.calls import NOON, closed

UNKNOWN: dict[str, Any] = {"cost_nano_usd": None, "cost_by_kind": (), "cost_status": "unpriced"}


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'books.db'}"
    opened = Database(url if request.param == "sqlite" else await request.getfixturevalue("postgres").migrated())
    await upgrade(opened)
    yield opened
    await opened.close()


def table(model: str = "new-model", usd: str = "1.00", **more: Any) -> PriceTable:
    entry = {"models": [model], "input": usd, "output": usd, "source": "a page", "read_on": date(2026, 11, 23), **more}
    return table_from(PriceOverlay.model_validate({"prices": [entry]}))


async def one(database: Database, query: str) -> Any:
    async with database.session() as session:
        return (await session.execute(text(query))).one()


async def rows(database: Database) -> list[Any]:
    async with database.session() as session:
        return list((await session.execute(text("SELECT * FROM usage_events ORDER BY id"))).all())


ROLLED = "SELECT sum(cost_nano_usd), sum(adjusted_nano_usd), sum(unpriced), sum(priced_later) FROM usage_rollups"


async def test_a_row_without_a_price_gets_one_and_is_itself_not_touched(database: Database) -> None:
    """15 tokens at 1 USD a million are 15,000 nano-dollars."""
    await LedgerStore(database).ship([closed(1, model="new-model", **UNKNOWN), closed(2)], [], {})
    before = await rows(database)
    done = await Adjustments(database).reprice(of_their_day(table()), Span(model="new-model"), "cli:ann")
    assert (done.rows, done.changed, done.delta_nano_usd) == (1, 1, 15_000)
    [line] = done.lines
    assert (line.team, line.priced, line.unpriced, line.after_nano_usd) == ("support", 1, 0, 15_000)
    assert await rows(database) == before
    assert tuple(await one(database, ROLLED)) == (12_000, 15_000, 1, 1)
    [made] = await Adjustments(database).of("call_1.1")
    assert (made.actor, made.gives_price, made.price_source) == ("cli:ann", True, "policies/prices.yaml")


async def test_a_second_time_changes_nothing_and_a_third_price_only_the_rest(database: Database) -> None:
    await LedgerStore(database).ship([closed(n, model="new-model", **UNKNOWN) for n in range(5)], [], {})
    store = Adjustments(database)
    first, second, third = [
        await store.reprice(of_their_day(table(usd=usd)), Span(), "cli:ann") for usd in ("1.00", "1.00", "1.50")
    ]
    assert (first.delta_nano_usd, second.changed, third.delta_nano_usd) == (75_000, 0, 37_500)
    assert tuple(await one(database, ROLLED)) == (0, 112_500, 5, 5)
    assert [made.delta_nano_usd for made in await store.of("call_3.1")] == [15_000, 7_500]


async def test_a_dry_run_says_the_same_and_writes_nothing(database: Database) -> None:
    await LedgerStore(database).ship([closed(1, model="new-model", **UNKNOWN)], [], {})
    store = Adjustments(database)
    dry = await store.reprice(of_their_day(table()), Span(), "cli:ann", is_dry_run=True)
    assert await store.of("call_1.1") == []
    wet = await store.reprice(of_their_day(table()), Span(), "cli:ann")
    assert dry.lines == wet.lines


async def test_prices_are_those_of_the_rows_day(database: Database) -> None:
    day = 86_400
    await LedgerStore(database).ship(
        [closed(n, at=NOON + n * day, model="new-model", **UNKNOWN) for n in (0, 1)], [], {}
    )
    later: dict[str, Any] = {"from": date(2026, 11, 24)}
    prices = table("new-model", "1.00", **later)
    done = await Adjustments(database).reprice(of_their_day(prices), Span(), "cli:ann")
    assert (done.changed, done.lines[0].unpriced) == (1, 1)
    assert await Adjustments(database).of("call_0.1") == []


async def test_what_was_free_or_priced_by_hand_or_has_no_tokens_is_left_alone(database: Database) -> None:
    await LedgerStore(database).ship(
        [
            closed(1, model="new-model", cost_nano_usd=0, cost_by_kind=(), cost_status="free"),
            closed(2, model="new-model", **UNKNOWN),
            closed(3, model="new-model", usage=None, **UNKNOWN),
        ],
        [],
        {},
    )
    store = Adjustments(database)
    await store.adjust("call_2.1", 7, "the invoice says so", "cli:ann")
    done = await store.reprice(of_their_day(table()), Span(), "cli:ann")
    assert (done.changed, sum(line.unpriced for line in done.lines)) == (0, 1)


async def test_a_correction_by_hand_outlives_a_repricing(database: Database) -> None:
    await LedgerStore(database).ship([closed(1, model="new-model")], [], {})
    store = Adjustments(database)
    await store.adjust("call_1.1", -2_000, "a refund", "admin")
    await store.reprice(of_their_day(table()), Span(), "cli:ann")
    assert tuple(await one(database, ROLLED)) == (12_000, 1_000, 0, 0)


async def test_budgets_are_charged_with_each_correction(database: Database) -> None:
    leases = LeaseStore(database)
    pools = ("team/support/month@2026-11-01", "bud_1@2026-11-23")
    await LedgerStore(database, leases).ship([closed(1, model="new-model", pools=pools, **UNKNOWN)], [], {})
    store = Adjustments(database)
    await store.reprice(of_their_day(table()), Span(), "cli:ann")
    await store.reprice(of_their_day(table()), Span(), "cli:ann")
    await store.adjust("call_1.1", -2_000, "a refund", "admin")
    for pool in pools:
        spent = f"SELECT spent_nano_usd FROM budget_pools WHERE id = '{pool}'"
        assert tuple(await one(database, spent)) == (13_000,)


async def test_two_repricings_at_once_correct_each_row_once(database: Database) -> None:
    count = ROWS_AT_ONCE + 20
    await LedgerStore(database).ship([closed(n, model="new-model", **UNKNOWN) for n in range(count)], [], {})
    store = Adjustments(database)
    done = await asyncio.gather(*(store.reprice(of_their_day(table()), Span(), f"cli:{who}") for who in ("ann", "bob")))
    assert sum(one.changed for one in done) == count
    assert tuple(await one(database, ROLLED)) == (0, 15_000 * count, count, count)


async def test_the_database_itself_refuses_to_change_a_correction(database: Database) -> None:
    await LedgerStore(database).ship([closed(1)], [], {})
    await Adjustments(database).adjust("call_1.1", 5, "rounding", "admin")
    for statement in ("UPDATE adjustments SET delta_nano_usd = 0", "DELETE FROM adjustments"):
        with pytest.raises(DBAPIError):
            await one(database, statement)


@pytest.mark.parametrize(
    ("event_id", "nano", "reason", "fault"),
    [("call_9.1", 5, "why", NotFound), ("call_1.1", 0, "why", InvalidRequest), ("call_1.1", 5, " ", InvalidRequest)],
)
async def test_a_correction_of_nothing_or_without_a_reason_is_refused(
    database: Database, event_id: str, nano: int, reason: str, fault: type[Exception]
) -> None:
    await LedgerStore(database).ship([closed(1)], [], {})
    with pytest.raises(fault):
        await Adjustments(database).adjust(event_id, nano, reason, "admin")
    assert await Adjustments(database).of(event_id) == []


async def test_a_difference_shows_rates_and_what_they_would_have_made_of_the_rows(database: Database) -> None:
    await LedgerStore(database).ship([closed(1, usage=Usage(1_000, 0)), closed(2, team="sales")], [], {})
    entry = (
        "- models: [gpt-4.1-mini]\n  from: 2027-01-01\n  input: 4\n  output: 8\n  source: s\n  read_on: 2026-11-23\n"
    )
    new = f"prices:\n{entry}"
    made = await price_difference(Adjustments(database), "", new, "new.yaml", Span(), date(2026, 11, 24))
    assert made.day == date(2027, 1, 1)
    assert ("input", 400_000, 4_000_000) in [(one.rate, one.before, one.after) for one in made.rates]
    assert {line.team: line.after_nano_usd for line in made.rows.lines} == {"support": 4_000_000, "sales": 80_000}
    assert await Adjustments(database).of("call_1.1") == []


async def test_a_difference_to_the_package_is_of_the_models_that_both_price(database: Database) -> None:
    """The entry for the model that the package does not know stays in force beside it."""
    await LedgerStore(database).ship([closed(1, usage=Usage(1_000, 0)), closed(2, model="own-model")], [], {})
    entry = "{models: [gpt-4.1-mini, own-model], input: 9, output: 9, source: s, read_on: 2026-11-23}"
    written = f"prices:\n- {entry}\n"
    made = await price_difference(Adjustments(database), written, None, "", Span(), date(2026, 11, 24))
    assert made.after.startswith("genai-prices")
    assert {one.model for one in made.rates} == {"gpt-4.1-mini"}
    assert ("input", 9_000_000, 400_000) in [(one.rate, one.before, one.after) for one in made.rates]
    after = {line.model: line.after_nano_usd for line in made.rows.lines}
    assert after == {"gpt-4.1-mini": 400_000, "own-model": 135_000}


async def test_a_repricing_without_a_reason_is_refused(database: Database) -> None:
    with pytest.raises(InvalidRequest, match="reason has 0 characters"):
        await Adjustments(database).reprice(of_their_day(table()), Span(), "cli:ann", " ")
