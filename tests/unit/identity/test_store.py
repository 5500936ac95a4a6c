import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.core.errors import Conflict, InvalidRequest, NotFound, UnknownKey
from gateway.identity.keys import KeyRing
from gateway.identity.store import IdentityStore
from gateway.identity.terms import checked_terms
from tests.fakes.calls import inbound
from tests.fakes.database import database

PEPPER = b"0123456789abcdef"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[IdentityStore]:
    async with database(tmp_path) as opened:
        yield IdentityStore(opened, PEPPER)


async def works(store: IdentityStore, key: str, now: float | None = None) -> bool:
    ring = KeyRing(PEPPER)
    ring.replace((await store.load())[1], now or time.time())
    try:
        ring.principal(inbound(b"", headers=((b"authorization", f"Bearer {key}".encode()),)), now or time.time())
    except UnknownKey:
        return False
    return True


async def test_a_key_works_until_it_is_revoked(store: IdentityStore) -> None:
    await store.create_team("support", actor="admin")
    key, info = await store.create_key("support", "web", actor="admin")
    assert await works(store, key)
    assert (await store.revoke_key(info.id, actor="admin")).revoked_at is not None
    assert not await works(store, key)


async def test_every_change_is_noticed(store: IdentityStore) -> None:
    """Other processes compare this number; a change without it would never reach them."""
    seen = [await store.version()]
    await store.create_team("support", actor="admin")
    seen.append(await store.version())
    _, info = await store.create_key("support", "web", actor="admin")
    seen.append(await store.version())
    await store.set_budget("support", 5, actor="admin")
    seen.append(await store.version())
    await store.rotate_key(info.id, actor="admin")
    seen.append(await store.version())
    await store.revoke_key(info.id, actor="admin")
    seen.append(await store.version())
    await store.declare_team("support", "Support", 7, actor="admin")
    seen.append(await store.version())
    assert seen == sorted(set(seen))
    await store.declare_team("support", "Support", 7, actor="admin")
    assert await store.version() == seen[-1], "what changes nothing is no change"


async def test_the_key_itself_is_nowhere_in_the_database(store: IdentityStore, tmp_path: Path) -> None:
    await store.create_team("support", actor="admin")
    key, info = await store.create_key("support", "web", actor="admin")
    assert key.startswith(info.prefix)
    async with store._database.session() as session:
        await session.execute(text("SELECT 1"))
    held = b"".join(path.read_bytes() for path in tmp_path.glob("gateway.db*"))
    assert info.id.encode() in held
    assert key.encode() not in held


async def test_a_rotated_key_lives_on_for_the_overlap(store: IdentityStore) -> None:
    await store.create_team("support", actor="admin")
    old, info = await store.create_key("support", "web", actor="admin")
    fresh, made = await store.rotate_key(info.prefix, overlap_seconds=60, actor="admin")
    assert (made.team, made.name) == ("support", "web")
    now = time.time()
    assert await works(store, old, now)
    assert not await works(store, old, now + 61)
    assert await works(store, fresh, now + 61)


async def test_rotation_never_lengthens_a_life(store: IdentityStore) -> None:
    await store.create_team("support", actor="admin")
    soon = time.time() + 10
    old, info = await store.create_key("support", "web", expires_at=soon, actor="admin")
    await store.rotate_key(info.id, overlap_seconds=3600, actor="admin")
    assert not await works(store, old, soon)


async def test_names_that_are_not_there_or_taken_are_refused(store: IdentityStore) -> None:
    await store.create_team("support", actor="admin")
    with pytest.raises(Conflict):
        await store.create_team("support", actor="admin")
    with pytest.raises(NotFound):
        await store.create_key("sales", "web", actor="admin")
    with pytest.raises(NotFound):
        await store.set_budget("sales", 1, actor="admin")
    with pytest.raises(NotFound):
        await store.revoke_key("sk-gw-nobody", actor="admin")
    assert [team.name for team in await store.teams()] == ["support"]
    assert await store.keys() == []


async def test_a_teams_keys_are_listed_without_the_others(store: IdentityStore) -> None:
    for team in ("sales", "support"):
        await store.create_team(team, actor="admin")
        await store.create_key(team, "web", actor="admin")
    assert [info.team for info in await store.keys("sales")] == ["sales"]
    assert [info.team for info in await store.keys()] == ["sales", "support"]


async def test_a_rotated_key_hands_on_what_it_was_bound_to(store: IdentityStore) -> None:
    await store.create_team("support", organisation="acme", actor="admin")
    terms = checked_terms(["gpt-4.1*"], ["rag", "direct"], {"env": "prod"})
    soon = time.time() + 1000
    _, first = await store.create_key("support", "web", actor="admin", expires_at=soon, debug=True, terms=terms)
    _, second = await store.rotate_key(first.id, 60, actor="admin")
    _, third = await store.rotate_key(second.id, 60, actor="admin")
    for info in (second, third):
        assert (info.allowed_models, info.allowed_paths) == (("gpt-4.1*",), ("rag", "direct"))
        assert (info.metadata, info.debug) == ({"env": "prod"}, True)
        assert info.expires_at is not None
        assert info.expires_at == pytest.approx(info.created_at + 1000, abs=5)
    principals = {key.principal.key_id: key.principal for key in (await store.load())[1]}
    assert len(principals) == 3
    for principal in principals.values():
        assert (principal.organisation, principal.allowed_models) == ("acme", ("gpt-4.1*",))
        assert (principal.allowed_paths, principal.metadata) == (("rag", "direct"), (("env", "prod"),))


async def test_a_key_without_an_end_is_replaced_by_one_without(store: IdentityStore) -> None:
    """Also the second time, when the first one's replacement has an overlap to live."""
    await store.create_team("support", actor="admin")
    _, first = await store.create_key("support", "web", actor="admin")
    await store.rotate_key(first.id, 60, actor="admin")
    _, again = await store.rotate_key(first.id, 60, actor="admin")
    assert again.expires_at is None


@pytest.mark.parametrize("overlap", [-1.0, float("nan"), float("inf")])
async def test_an_overlap_that_cannot_be_is_refused(store: IdentityStore, overlap: float) -> None:
    await store.create_team("support", actor="admin")
    key, info = await store.create_key("support", "web", actor="admin")
    with pytest.raises(InvalidRequest):
        await store.rotate_key(info.id, overlap, actor="admin")
    assert await works(store, key)


async def test_a_key_of_another_team_is_not_found(store: IdentityStore) -> None:
    for team in ("sales", "support"):
        await store.create_team(team, actor="admin")
    key, info = await store.create_key("sales", "web", actor="admin")
    for refused in (
        store.revoke_key(info.id, actor="key:1", teams={"support"}),
        store.rotate_key(info.prefix, actor="key:1", teams={"support"}),
    ):
        with pytest.raises(NotFound):
            await refused
    assert await works(store, key)
    assert await store.keys(teams={"support"}) == []


async def test_each_change_is_in_the_audit_log_once_with_who_made_it(store: IdentityStore) -> None:
    await store.create_team("support", "S", 5, organisation="acme", actor="cli:ann")
    await store.declare_team("support", "S", 5, organisation="acme", actor="policy")
    await store.declare_team("support", "T", 5, organisation="acme", actor="policy")
    await store.set_team("support", organisation="other", actor="admin")
    await store.set_budget("support", None, actor="admin")
    key, info = await store.create_key("support", "web", actor="key:rol_1")
    _, fresh = await store.rotate_key(info.id, actor="oidc:ann@example.com")
    await store.revoke_key(fresh.id, actor="admin")
    await store.revoke_key(fresh.id, actor="admin")
    told = [(event.actor, event.action, event.subject) for event in reversed(await store.audit())]
    assert told == [
        ("cli:ann", "team.create", "team:support"),
        ("policy", "team.declare", "team:support"),
        ("admin", "team.set", "team:support"),
        ("admin", "budget.lift", "team:support"),
        ("key:rol_1", "key.create", f"key:{info.id}"),
        ("oidc:ann@example.com", "key.rotate", f"key:{fresh.id}"),
        ("admin", "key.revoke", f"key:{fresh.id}"),
    ]
    lifted = (await store.audit("team:support", 1))[0]
    assert lifted.detail == {"monthly_budget_nano_usd": None, "before": {"monthly_budget_nano_usd": 5}}
    assert key not in str(await store.audit())


async def test_a_change_that_fails_leaves_no_trace(store: IdentityStore) -> None:
    await store.create_team("support", actor="admin")
    before = await store.audit()
    with pytest.raises(Conflict):
        await store.create_team("support", actor="admin")
    with pytest.raises(NotFound):
        await store.create_key("nobody", "web", actor="admin")
    with pytest.raises(InvalidRequest):
        await store.set_team("support", organisation="a b", actor="admin")
    assert await store.audit() == before
