import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.core.errors import Conflict, NotFound, UnknownKey
from gateway.identity.keys import KeyRing
from gateway.identity.store import IdentityStore
from tests.fakes.calls import inbound
from tests.fakes.database import database

PEPPER = b"0123456789abcdef"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[IdentityStore]:
    async with database(tmp_path) as opened:
        yield IdentityStore(opened, PEPPER)


async def works(store: IdentityStore, key: str, now: float | None = None) -> bool:
    ring = KeyRing(PEPPER)
    ring.replace((await store.load())[1])
    try:
        ring.principal(inbound(b"", headers=((b"authorization", f"Bearer {key}".encode()),)), now or time.time())
    except UnknownKey:
        return False
    return True


async def test_a_key_works_until_it_is_revoked(store: IdentityStore) -> None:
    await store.create_team("support")
    key, info = await store.create_key("support", "web")
    assert await works(store, key)
    assert (await store.revoke_key(info.id)).revoked_at is not None
    assert not await works(store, key)


async def test_every_change_is_noticed(store: IdentityStore) -> None:
    """Other processes compare this number; a change without it would never reach them."""
    seen = [await store.version()]
    await store.create_team("support")
    seen.append(await store.version())
    _, info = await store.create_key("support", "web")
    seen.append(await store.version())
    await store.set_budget("support", 5)
    seen.append(await store.version())
    await store.rotate_key(info.id)
    seen.append(await store.version())
    await store.revoke_key(info.id)
    seen.append(await store.version())
    await store.declare_team("support", "Support", 7)
    seen.append(await store.version())
    assert seen == sorted(set(seen))
    await store.declare_team("support", "Support", 7)
    assert await store.version() == seen[-1], "what changes nothing is no change"


async def test_the_key_itself_is_nowhere_in_the_database(store: IdentityStore, tmp_path: Path) -> None:
    await store.create_team("support")
    key, info = await store.create_key("support", "web")
    assert key.startswith(info.prefix)
    async with store._database.session() as session:
        await session.execute(text("SELECT 1"))
    held = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    assert info.id.encode() in held
    assert key.encode() not in held


async def test_a_rotated_key_lives_on_for_the_overlap(store: IdentityStore) -> None:
    await store.create_team("support")
    old, info = await store.create_key("support", "web")
    fresh, made = await store.rotate_key(info.prefix, overlap_seconds=60)
    assert (made.team, made.name) == ("support", "web")
    now = time.time()
    assert await works(store, old, now)
    assert not await works(store, old, now + 61)
    assert await works(store, fresh, now + 61)


async def test_rotation_never_lengthens_a_life(store: IdentityStore) -> None:
    await store.create_team("support")
    soon = time.time() + 10
    old, info = await store.create_key("support", "web", expires_at=soon)
    await store.rotate_key(info.id, overlap_seconds=3600)
    assert not await works(store, old, soon)


async def test_names_that_are_not_there_or_taken_are_refused(store: IdentityStore) -> None:
    await store.create_team("support")
    with pytest.raises(Conflict):
        await store.create_team("support")
    with pytest.raises(NotFound):
        await store.create_key("sales", "web")
    with pytest.raises(NotFound):
        await store.set_budget("sales", 1)
    with pytest.raises(NotFound):
        await store.revoke_key("sk-gw-nobody")
    assert [team.name for team in await store.teams()] == ["support"]
    assert await store.keys() == []


async def test_a_teams_keys_are_listed_without_the_others(store: IdentityStore) -> None:
    for team in ("sales", "support"):
        await store.create_team(team)
        await store.create_key(team, "web")
    assert [info.team for info in await store.keys("sales")] == ["sales"]
    assert [info.team for info in await store.keys()] == ["sales", "support"]
