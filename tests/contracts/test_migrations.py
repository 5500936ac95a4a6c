"""Migrating a PostgreSQL that others use: bounded waits, and nothing half done, whoever is killed."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from gateway.core.errors import BadConfiguration
from gateway.db.engine import Database
from gateway.db.schema import HEAD, IN_CHECKOUT, revision, upgrade
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import ROOT, plain_environment

LOCK = int(re.findall(r"^LOCK = ([\d_]+)", (ROOT / "migrations" / "env.py").read_text(), re.MULTILINE)[0])
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    """An empty one."""
    opened = Database(postgres.fresh())
    yield opened
    await opened.close()


async def to_first(database: Database) -> None:
    """The schema as it was before this version."""
    config = Config()
    config.set_main_option("script_location", str(IN_CHECKOUT))
    config.attributes["url"] = database.url
    await asyncio.to_thread(command.upgrade, config, "0001")


async def one(database: Database, query: str) -> object:
    async with database.session() as session:
        return (await session.execute(text(query))).scalar_one()


async def until_waiting(database: Database) -> None:
    async with asyncio.timeout(20):
        while not await one(database, WAITS):
            await asyncio.sleep(0.05)


async def test_a_migrator_that_finds_another_at_work_for_too_long_says_which(database: Database) -> None:
    async with database.engine.connect() as other:
        pid = (await other.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        await other.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
        await other.commit()
        with pytest.raises(BadConfiguration, match=rf"session {pid}\) has been migrating for more than 0.3 s"):
            await upgrade(database, wait_seconds=0.3)
        assert await revision(database) is None
        await other.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
    assert await upgrade(database, wait_seconds=0.3) is True


async def test_a_migrator_killed_in_the_middle_leaves_nothing_behind_and_nobody_locked_out(
    database: Database, tmp_path: Path
) -> None:
    """kill -9 while it waits for the second table, having changed the first."""
    await to_first(database)
    environment = plain_environment() | {"GATEWAY_DATABASE_URL": database.url, "GATEWAY_DATA": str(tmp_path)}
    async with database.session() as reader:
        await reader.execute(text("SELECT count(*) FROM decisions"))
        migrator = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "db", "upgrade", cwd=ROOT, env=environment
        )
        await until_waiting(database)
        migrator.kill()
        await migrator.wait()
    assert await revision(database) == "0001"
    assert await one(database, "SELECT to_regclass('usage_events_rest') IS NULL")
    assert await upgrade(database) is True
    assert await revision(database) == HEAD


async def test_a_change_waits_for_a_reader_in_short_turns_and_lets_others_by(database: Database) -> None:
    """Its lock request blocks all who come after it, so it gives up and asks again."""
    await to_first(database)
    other = Database(database.url)
    try:
        async with database.session() as reader:
            await reader.execute(text("SELECT count(*) FROM decisions"))
            migrating = asyncio.create_task(upgrade(database))
            await until_waiting(database)
            async with asyncio.timeout(10):
                assert await one(other, "SELECT count(*) FROM decisions") == 0
            assert not migrating.done()
        assert await migrating is True
    finally:
        await other.close()
    assert await revision(database) == HEAD
