"""SQLite's one write lock is given back by whoever is cancelled, at once."""

import asyncio
import gc
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.db.engine import Database

ROUNDS = 60


@pytest.fixture
def no_collector() -> Iterator[None]:
    """It would free what a process that has nothing to do keeps for minutes."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    async with made.session() as session:
        await session.execute(text("CREATE TABLE counts (n INTEGER)"))
        await session.execute(text("INSERT INTO counts VALUES (1), (2)"))
    yield made
    await made.close()


def writes(folder: Path) -> None:
    """Another process that writes."""
    other = sqlite3.connect(folder / "x.db", timeout=1)
    other.execute("BEGIN IMMEDIATE")
    other.rollback()
    other.close()


async def test_a_closed_connection_holds_no_lock_while_a_cursor_of_it_lives(database: Database, tmp_path: Path) -> None:
    async with database.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        living = await driver.execute("UPDATE counts SET n = n + 1 RETURNING n")
        await driver.close()
        writes(tmp_path)
        await connection.invalidate()
    assert living is not None


@pytest.mark.usefixtures("no_collector")
async def test_whoever_is_cancelled_while_writing_holds_no_lock(database: Database, tmp_path: Path) -> None:
    async def work() -> None:
        async with database.session() as session:
            await session.execute(text("UPDATE counts SET n = n + 1"))
            (await session.execute(text("SELECT n FROM counts"))).all()

    for number in range(ROUNDS):
        working = [asyncio.create_task(work()) for _ in range(2)]
        await asyncio.sleep(0.006 * number / ROUNDS)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        # What was cancelled is undone in a thread of its own.
        await asyncio.sleep(0.02)
        writes(tmp_path)
