"""Who is known, while the database comes and goes."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.exc import SQLAlchemyError

from gateway.core.clock import Clock
from gateway.core.errors import NotReady
from gateway.core.settings import Settings, database_url
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.identity.snapshot import NAME
from gateway.identity.store import Team
from gateway.known import Known
from tests.fakes.calls import inbound


def settings(folder: Path) -> Settings:
    return Settings(policies=folder, data=folder, database_url=database_url(None, folder))


async def left_on_disk(folder: Path) -> str:
    """A key, made and loaded by a process that is gone."""
    database = Database(settings(folder).database_url)
    await upgrade(database)
    known = Known(database, settings(folder), Clock(), lambda _teams: None)
    await known.identity.create_team("support", actor="admin")
    key, _ = await known.identity.create_key("support", "web", actor="admin")
    await known.load()
    await database.close()
    return key


def team_of(known: Known, key: str) -> str:
    call = inbound(b"", headers=((b"authorization", f"Bearer {key}".encode()),))
    return known.keys.principal(call, Clock().wall()).team


async def test_a_process_that_starts_without_its_database_knows_the_keys_of_before(tmp_path: Path) -> None:
    key = await left_on_disk(tmp_path)
    away = Database(f"sqlite+aiosqlite:///{tmp_path / 'nowhere' / 'gateway.db'}")
    known = Known(away, settings(tmp_path), Clock(), lambda _teams: None)
    with pytest.raises(SQLAlchemyError):
        await known.load()
    with pytest.raises(NotReady):
        team_of(known, key)
    assert known.recall() is not None
    assert team_of(known, key) == "support"
    await away.close()


async def test_what_is_too_old_is_not_made_younger_by_a_restart(tmp_path: Path) -> None:
    key = await left_on_disk(tmp_path)
    database = Database(settings(tmp_path).database_url)
    young = msgspec.structs.replace(settings(tmp_path), keys_max_age_seconds=0.0)
    known = Known(database, young, Clock(), lambda _teams: None)
    assert known.recall() is not None
    with pytest.raises(NotReady):
        team_of(known, key)
    await database.close()


async def test_nothing_on_disk_is_nothing_known(tmp_path: Path) -> None:
    database = Database(settings(tmp_path).database_url)
    known = Known(database, settings(tmp_path), Clock(), lambda _teams: None)
    assert known.recall() is None
    assert not known.can_recall()
    await database.close()


async def test_a_database_that_comes_back_is_followed_again(tmp_path: Path) -> None:
    """The watcher of a process that started from the disk takes over what has changed meanwhile."""
    key = await left_on_disk(tmp_path)
    aside = tmp_path / "gateway.db"
    database = Database(settings(tmp_path).database_url)
    told: list[list[Team]] = []
    known = Known(database, settings(tmp_path), Clock(), told.append)
    assert known.recall() is not None
    aside.rename(tmp_path / "aside.db")
    watching = asyncio.create_task(known.watch())
    try:
        await asyncio.sleep(0.6)
        assert team_of(known, key) == "support"
        assert told == []
        aside.unlink(missing_ok=True)
        await database.engine.dispose()
        (tmp_path / "aside.db").rename(aside)
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.05)
        assert [team.name for team in told[0]] == ["support"]
        assert team_of(known, key) == "support"
    finally:
        watching.cancel()
        await database.close()


async def test_a_disk_that_takes_nothing_is_no_reason_to_know_less(tmp_path: Path) -> None:
    key = await left_on_disk(tmp_path)
    database = Database(settings(tmp_path).database_url)
    known = Known(database, settings(tmp_path), Clock(), lambda _teams: None)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    await known.load()
    assert team_of(known, key) == "support"
    await database.close()
