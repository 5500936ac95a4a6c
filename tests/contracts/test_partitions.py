"""Months made ahead and dropped when old: on a real PostgreSQL with writers at work; and the same on SQLite."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from gateway.core.errors import BadConfiguration
from gateway.core.event import UsageEvent
from gateway.db.engine import Database
from gateway.db.partitions import keep_up
from gateway.db.schema import upgrade
from gateway.ledger.store import LedgerStore
from tests.fakes.calls import closed
from tests.fakes.postgres import Postgres


def at(year: int, month: int, day: int = 15) -> float:
    return datetime(year, month, day, tzinfo=UTC).timestamp()


NOW = at(2027, 6)


def event(number: int, moment: float) -> UsageEvent:
    return closed(number, id=f"call_{number}.1", at=moment)


@pytest.fixture
async def server(postgres: Postgres) -> AsyncIterator[Database]:
    """PostgreSQL alone."""
    opened = Database(postgres.fresh())
    await upgrade(opened)
    yield opened
    await opened.close()


async def ids(database: Database, table: str = "usage_events") -> list[str]:
    async with database.session() as session:
        return list((await session.execute(text(f"SELECT id FROM {table} ORDER BY id"))).scalars())


async def part_of(database: Database, row: str) -> str:
    async with database.session() as session:
        query = text("SELECT tableoid::regclass::text FROM usage_events WHERE id = :id")
        return str((await session.execute(query, {"id": row})).scalar_one())


async def test_rows_of_old_months_go_and_their_sums_stay(database: Database) -> None:
    """Kept are the month of now and so many whole ones before it, to the second."""
    books = LedgerStore(database)
    await keep_up(database, at(2027, 1), None)
    moments = {1: at(2026, 12, 31), 2: at(2027, 3, 31), 3: at(2027, 4, 1), 4: NOW, 5: at(1971, 1)}
    await books.ship([event(number, moment) for number, moment in moments.items()], [], {})
    before = await sums(database)
    done = await keep_up(database, NOW, 2)
    assert done.cutoff == at(2027, 4, 1)
    assert await ids(database) == ["call_3.1", "call_4.1"]
    assert await sums(database) == before
    assert done.postponed == ()


async def sums(database: Database) -> list[tuple[object, ...]]:
    async with database.session() as session:
        query = text("SELECT id, calls, cost_nano_usd FROM usage_rollups ORDER BY id")
        return [tuple(row) for row in await session.execute(query)]


async def test_a_dry_run_says_the_same_and_does_nothing(database: Database) -> None:
    books = LedgerStore(database)
    await books.ship([event(1, at(2020, 1)), event(2, NOW)], [], {})
    told = await keep_up(database, NOW, 1, dry_run=True)
    assert await ids(database) == ["call_1.1", "call_2.1"]
    done = await keep_up(database, NOW, 1)
    assert (told.made, told.dropped) == (done.made, done.dropped)
    assert told.deleted_rows["usage_events_rest" if database.dialect == "postgresql" else "usage_events"] == 1


async def test_without_a_number_of_months_everything_is_kept(database: Database) -> None:
    books = LedgerStore(database)
    await books.ship([event(1, at(2020, 1)), event(2, NOW)], [], {})
    done = await keep_up(database, NOW, None)
    assert (done.cutoff, done.dropped, done.deleted_rows) == (None, (), {})
    assert await ids(database) == ["call_1.1", "call_2.1"]


@pytest.mark.parametrize("months", [0, -3])
async def test_less_than_a_month_cannot_be_kept(database: Database, months: int) -> None:
    with pytest.raises(BadConfiguration, match="must be 1 or more"):
        await keep_up(database, NOW, months)


async def test_more_rows_than_a_batch_all_go(database: Database) -> None:
    books = LedgerStore(database)
    await books.ship([event(number, at(2019, 1) + number) for number in range(2_300)], [], {})
    done = await keep_up(database, NOW, 1)
    assert await ids(database) == []
    assert sum(done.deleted_rows.values()) == 2_300


async def test_the_months_ahead_are_there_before_their_first_row(server: Database) -> None:
    made = (await keep_up(server, NOW, None)).made
    assert {f"usage_events_2027_{month:02d}" for month in (6, 7, 8)} <= set(made)
    assert {f"decisions_2027_{month:02d}" for month in (6, 7, 8)} <= set(made)
    await LedgerStore(server).ship([event(1, at(2027, 8, 31))], [], {})
    assert await part_of(server, "call_1.1") == "usage_events_2027_08"
    assert (await keep_up(server, NOW, None)).made == ()


async def test_rows_that_came_before_their_month_was_made_move_into_it(server: Database) -> None:
    """A gateway that was off for months, or a clock that ran ahead: no row is lost, none is booked twice."""
    books = LedgerStore(server)
    events = [event(1, at(2027, 2)), event(2, NOW), event(3, at(2093, 1))]
    await books.ship(events, [], {})
    assert await part_of(server, "call_2.1") == "usage_events_rest"
    await keep_up(server, NOW, None)
    assert await part_of(server, "call_1.1") == "usage_events_2027_02"
    assert await part_of(server, "call_2.1") == "usage_events_2027_06"
    assert await part_of(server, "call_3.1") == "usage_events_rest"
    before = await sums(server)
    await books.ship(events, [], {})
    assert await ids(server) == ["call_1.1", "call_2.1", "call_3.1"]
    assert await sums(server) == before


async def test_eight_at_once_do_the_work_once_while_rows_are_written(server: Database) -> None:
    """Replicas wake at the same hour; writers go on all the while and each row is there once."""
    replicas = [Database(server.url) for _ in range(8)]
    books = LedgerStore(server)
    written = 0

    async def write() -> None:
        nonlocal written
        while not done.is_set():
            await books.ship([event(written, NOW + written), event(written + 100_000, at(2027, 8) + written)], [], {})
            written += 1

    done = asyncio.Event()
    writing = asyncio.create_task(write())
    try:
        results = await asyncio.gather(*(keep_up(replica, NOW, 2) for replica in replicas))
    finally:
        done.set()
        await writing
        for replica in replicas:
            await replica.close()
    assert all(result.postponed == () for result in results)
    assert written > 0
    await keep_up(server, NOW, 2)
    assert len(await ids(server)) == 2 * written


async def test_a_lock_that_cannot_be_had_is_left_for_the_next_run(server: Database) -> None:
    """A long report holds the table: whoever writes meanwhile is not held up behind our waiting for it."""
    books = LedgerStore(server)
    await keep_up(server, at(2026, 12), None)
    await books.ship([event(1, at(2026, 12))], [], {})
    async with server.session() as reader:
        await reader.execute(text("SELECT count(*) FROM usage_events"))
        done = asyncio.create_task(keep_up(server, NOW, 2))
        for number in range(2, 40):
            async with asyncio.timeout(5):
                await books.ship([event(number, at(2026, 12, 20))], [], {})
            await asyncio.sleep(0.05)
        assert not done.done()
        assert "call_1.1" in await ids(server)
    assert "usage_events_2026_12" in (await done).dropped
    assert await ids(server) == []
