"""The audit log can be added to, and nothing else: on both databases, whoever asks."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.core.settings import database_url
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.identity.access.store import AccessStore
from gateway.identity.store import IdentityStore
from tests.fakes.postgres import Postgres

PEPPER = b"0123456789abcdef"


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        url = database_url(None, tmp_path)
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.fresh()
    opened = Database(url)
    try:
        await upgrade(opened)
        yield opened
    finally:
        await opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET actor = 'nobody'",
        "UPDATE audit_events SET detail = '{}' WHERE action = 'team.create'",
        "DELETE FROM audit_events",
        "DELETE FROM audit_events WHERE action = 'team.create'",
    ],
)
async def test_what_was_noted_cannot_be_edited_away(database: Database, statement: str) -> None:
    identity = IdentityStore(database, PEPPER)
    await identity.create_team("support", actor="cli:ann")
    before = await identity.audit()
    with pytest.raises(DBAPIError, match="append-only"):
        async with database.session() as session:
            await session.execute(text(statement))
    assert await identity.audit() == before
    assert [event.actor for event in before] == ["cli:ann"]


async def test_the_log_cannot_be_emptied(database: Database) -> None:
    if database.dialect != "postgresql":
        pytest.skip("SQLite has no TRUNCATE")
    identity = IdentityStore(database, PEPPER)
    await identity.create_team("support", actor="cli:ann")
    with pytest.raises(DBAPIError, match="append-only"):
        async with database.session() as session:
            await session.execute(text("TRUNCATE audit_events"))
    assert len(await identity.audit()) == 1


async def test_changes_of_roles_and_members_are_noted_with_who_made_them(database: Database) -> None:
    identity, access = IdentityStore(database, PEPPER), AccessStore(database, PEPPER)
    await identity.create_team("support", actor="admin")
    versions = [await identity.version()]
    key, info = await access.create_key("ci", "team_viewer", "support", actor="cli:ann")
    versions.append(await identity.version())
    await access.add_member("Ann@Example.com", "team_owner", "support", actor="key:rol_1")
    versions.append(await identity.version())
    await access.revoke_key(info.prefix, actor="admin")
    versions.append(await identity.version())
    await access.remove_member("ann@example.COM", actor="oidc:bob@example.com")
    versions.append(await identity.version())
    assert versions == sorted(set(versions)), "each is noticed by the other processes"
    told = [(event.actor, event.action, event.subject) for event in reversed(await identity.audit())]
    assert told[1:] == [
        ("cli:ann", "role_key.create", f"role_key:{info.id}"),
        ("key:rol_1", "member.add", "member:ann@example.com"),
        ("admin", "role_key.revoke", f"role_key:{info.id}"),
        ("oidc:bob@example.com", "member.remove", "member:ann@example.com"),
    ]
    assert key not in str(await identity.audit())
    async with database.session() as session:
        assert key[12:] not in str((await session.execute(text("SELECT * FROM role_keys"))).all())


async def test_the_newest_change_comes_first_and_a_subject_has_its_own(database: Database) -> None:
    identity = IdentityStore(database, PEPPER)
    for number in range(5):
        await identity.create_team(f"team-{number}", actor="admin")
    assert [event.subject for event in await identity.audit(limit=2)] == ["team:team-4", "team:team-3"]
    assert [event.action for event in await identity.audit("team:team-2")] == ["team.create"]
