"""The database's promises, the same over SQLite and PostgreSQL: migrations, books, teams and keys."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

import gateway.db.tables
import gateway.identity.tables
import gateway.ledger.jobs.tables
import gateway.ledger.leases.tables
import gateway.ledger.tables
import gateway.ledger.webhooks.tables  # noqa: F401  # they register their tables
from gateway.core.errors import BadConfiguration, Conflict, NotFound
from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.db.schema import HEAD, fits, require_head, revision, upgrade
from gateway.identity.store import IdentityStore
from gateway.ledger.records import DecisionRecord
from gateway.ledger.report import usage_report
from gateway.ledger.reports.store import ReportStore
from tests.fakes.calls import NAMES, closed
from tests.fakes.row_sums import GROUPS, SummedStore
from tests.fakes.running_gateway import ROOT, plain_environment

PEPPER = b"a pepper of the tests"
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
DAY = 86_400.0
PARTITION = re.compile(r"^(usage_events|decisions|answer_sources|knowledge_gaps)_(\d{4}_\d{2}|rest)$")
KNOWLEDGE = "knowledge_"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'books.db'}"
    made: str = request.getfixturevalue("postgres").fresh()
    return made


@pytest.fixture
async def empty(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    yield database
    await database.close()


@pytest.fixture
async def database(empty: Database) -> Database:
    """A database at this version's schema."""
    await upgrade(empty)
    return empty


@pytest.fixture
def books(database: Database) -> SummedStore:
    return SummedStore(database)


@pytest.fixture
def people(database: Database) -> IdentityStore:
    return IdentityStore(database, PEPPER)


def decision(number: int = 1, **fields: Any) -> DecisionRecord:
    given: dict[str, Any] = {
        "id": f"dec_{number}", "call_id": f"call_{number}", "at": NOVEMBER, "team": "red", "key_id": "key_1",
        "key_name": "app", "endpoint": "chat", "asked_model": "auto", "rule": "help", "path": "rag",
        "upstream": "main", "model": "gpt-4.1-mini", "line": None, "policy_hash": "abc", "names": NAMES,
        "trace": ((0, -1),),
        "draw": 0.5, "budget_used": None, "signals": (("help-centre", 0.8),),
    }  # fmt: skip
    return DecisionRecord(**(given | fields))


def booked(number: int, **fields: Any) -> Any:
    """An event with numbers that tell its row from others."""
    given: dict[str, Any] = {"id": f"call_{number}.1", "call_id": f"call_{number}", "at": NOVEMBER + number}
    return closed(**(given | fields))


# Migrations.


async def test_an_empty_database_is_brought_up_to_date_once(empty: Database) -> None:
    assert await revision(empty) is None
    with pytest.raises(BadConfiguration, match="gateway db upgrade"):
        await require_head(empty)
    assert await upgrade(empty) is True
    assert await revision(empty) == HEAD
    assert await upgrade(empty) is False
    await require_head(empty)


async def test_the_migrations_make_what_the_code_says(database: Database) -> None:
    """No table, column, index or type differs. Partitions are parts of a table, not tables.

    Those of the knowledge store are its own affair: it is no SQLModel, and its contract suite runs on them.
    """

    def is_known(_table: Any, name: str | None, kind: str, *_found: Any) -> bool:
        return kind != "table" or not (PARTITION.search(name or "") or (name or "").startswith(KNOWLEDGE))

    def differences(connection: Any) -> list[Any]:
        options = {"compare_type": True, "include_object": is_known}
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), SQLModel.metadata)
        return found

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_replicas_that_migrate_at_once_all_come_through(url: str, empty: Database, tmp_path: Path) -> None:
    """In processes of their own, as replicas are."""
    environment = plain_environment() | {"GATEWAY_DATABASE_URL": url, "GATEWAY_DATA": str(tmp_path)}
    replicas = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "db", "upgrade", cwd=ROOT, env=environment
        )
        for _ in range(8)
    ]
    assert await asyncio.gather(*(replica.wait() for replica in replicas)) == [0] * 8
    assert await revision(empty) == HEAD
    async with empty.session() as session:
        assert (await session.execute(text("SELECT count(*) FROM alembic_version"))).scalar_one() == 1


@pytest.mark.parametrize("floor", ["'9999'", f"'{int(HEAD) + 1:04}'", None])
async def test_a_newer_database_that_no_longer_admits_this_code_is_refused(
    database: Database, floor: str | None
) -> None:
    async with database.session() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await session.execute(text(f"UPDATE schema_floor SET oldest = {floor}" if floor else "DROP TABLE schema_floor"))
    for enter in (upgrade, require_head, fits):
        with pytest.raises(BadConfiguration, match=r"9999.*run the newer version"):
            await enter(database)
    assert await revision(database) == "9999"


async def test_a_newer_database_that_still_admits_this_code_is_worked_on(
    database: Database, books: SummedStore
) -> None:
    """Expand and contract: the version before goes on beside the new one while a deploy is under way."""
    async with database.session() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await session.execute(text("ALTER TABLE usage_events ADD COLUMN added_later TEXT"))
    assert await upgrade(database) is False
    await require_head(database)
    await books.ship([booked(1)], [], {})
    assert await revision(database) == "9999"


async def test_money_and_tokens_have_64_bits(database: Database) -> None:
    def columns(connection: Any) -> dict[str, str]:
        found = inspect(connection).get_columns("usage_events")
        return {column["name"]: str(column["type"]) for column in found}

    async with database.engine.connect() as connection:
        types = await connection.run_sync(columns)
    for name in ("input_tokens", "output_tokens", "context_tokens", "cost_nano_usd"):
        assert types[name] == "BIGINT"


# Books.


async def test_the_same_rows_shipped_again_change_nothing(books: SummedStore) -> None:
    """The journal delivers at least once."""
    events = [booked(number) for number in range(1, 1201)]
    for _ in range(3):
        await books.ship(events, [decision(1), decision(2)], {"a.journal": 10})
    await books.ship([*reversed(events[:50]), booked(1201)], [decision(1)], {"a.journal": 20, "b.journal": 5})
    [sums] = await books.sums(())
    assert (sums.calls, sums.attempts) == (1201, 1201)
    assert await books.offset("a.journal") == 20
    await books.forget(["a.journal"])
    assert await books.offset("a.journal") == 0
    assert await books.offset("b.journal") == 5


async def test_two_processes_that_ship_the_same_at_once_book_it_once(url: str, database: Database) -> None:
    """Both have found the same dead process's journal."""
    events = [booked(number) for number in range(1, 301)]
    others = [Database(url) for _ in range(3)]
    try:
        await asyncio.gather(*(SummedStore(other).ship(events, [decision()], {"x": 1}) for other in others))
    finally:
        for other in others:
            await other.close()
    [sums] = await SummedStore(database).sums(())
    assert sums.attempts == 300


async def test_a_batch_that_cannot_be_booked_leaves_no_trace(books: SummedStore, database: Database) -> None:
    async with database.session() as session:
        await session.execute(text("ALTER TABLE decisions RENAME TO elsewhere"))
    with pytest.raises(Exception, match="decisions"):
        await books.ship([booked(1)], [decision()], {"a.journal": 10})
    async with database.session() as session:
        await session.execute(text("ALTER TABLE elsewhere RENAME TO decisions"))
    assert await books.sums(()) == []
    assert await books.offset("a.journal") == 0


async def test_sums_are_exact_by_every_group(books: SummedStore) -> None:
    many = [
        booked(number, team=f"team{number % 3}", model=f"m{number % 2}", cost_nano_usd=10**15 + number)
        for number in range(1, 61)
    ]
    await books.ship(many, [], {})
    whole = sum(10**15 + number for number in range(1, 61))
    for group in GROUPS:
        parts = await books.sums((group,))
        assert sum(part.cost_nano_usd for part in parts) == whole
        assert sum(part.calls for part in parts) == 60
    by_two = await books.sums(("team", "model"))
    assert len(by_two) == 6
    assert [part.cost_nano_usd for part in by_two] == sorted((p.cost_nano_usd for p in by_two), reverse=True)


async def test_an_unknown_price_is_not_0_and_is_counted(books: SummedStore) -> None:
    await books.ship(
        [booked(1, cost_nano_usd=None, cost_by_kind=(), cost_status="unpriced"), booked(2, cost_nano_usd=5)], [], {}
    )
    [sums] = await books.sums(())
    assert (sums.cost_nano_usd, sums.unpriced, sums.attempts) == (5, 1, 2)


async def test_a_retried_call_is_one_call_and_two_attempts(books: SummedStore) -> None:
    first = closed(id="call_1.1", call_id="call_1", attempt=1, last=False, at=NOVEMBER)
    second = closed(id="call_1.2", call_id="call_1", attempt=2, last=True, at=NOVEMBER)
    await books.ship([first, second], [], {})
    [sums] = await books.sums(("team",))
    assert (sums.calls, sums.attempts) == (1, 2)


async def test_a_day_is_utcs(books: SummedStore, database: Database) -> None:
    await books.ship([booked(1, at=NOVEMBER - 1), booked(2, at=NOVEMBER), booked(3, at=NOVEMBER + DAY - 1)], [], {})
    days = {part.group["day"]: part.calls for part in await books.sums(("day",))}
    assert days == {"2026-10-31": 1, "2026-11-01": 2}
    report = await usage_report(ReportStore(database), ("day",), "2026-11-01", "2026-11-02")
    assert report.total.calls == 2
    assert (
        await usage_report(ReportStore(database), ("day",), "2026-11-01T00:00:00+01:00", "2026-11-01")
    ).total.calls == 1


async def test_what_a_month_has_spent_is_summed_by_team(books: SummedStore) -> None:
    await books.ship(
        [
            booked(1, team="red", cost_nano_usd=7, at=NOVEMBER - 1),
            booked(2, team="red", cost_nano_usd=11, at=NOVEMBER),
            booked(3, team="red", cost_nano_usd=None, cost_by_kind=(), cost_status="unpriced", at=NOVEMBER),
            booked(4, team="blue", cost_nano_usd=13, at=NOVEMBER),
        ],
        [],
        {},
    )
    november = {one.group["team"]: one.cost_nano_usd for one in await books.sums(("team",), since=NOVEMBER)}
    assert november == {"red": 11, "blue": 13}


HOSTILE = (
    "a\x00b",
    "\u202egnp.exe",
    "'; DROP TABLE usage_events; --",
    "\U0001f600" * 50,
    "x" * 100_000,
    "%s %(a)s {0}",
)


@pytest.mark.parametrize("name", HOSTILE, ids=["nul", "rtl", "sql", "emoji", "long", "format"])
async def test_no_name_that_a_caller_invents_stops_the_books(books: SummedStore, name: str) -> None:
    """PostgreSQL has no NUL in text: one such name would hold up every row behind it for ever."""
    hostile = booked(
        1,
        asked_model=name,
        model=name,
        metadata=((name[:60], name[:500]),),
        usage=Usage(1, 2, source="provider", raw='{"x":"\\u0000"}'),
    )
    await books.ship([hostile, booked(2)], [decision(asked_model=name)], {"a.journal": 1})
    [sums] = await books.sums(())
    assert sums.attempts == 2
    found = await books.decision("dec_1")
    assert found is not None
    assert found.asked_model == name


async def test_a_decision_is_found_by_its_id_and_its_calls(books: SummedStore) -> None:
    kept = decision(3)
    await books.ship([], [kept], {})
    assert await books.decision("dec_3") == kept
    assert await books.decision("call_3") == kept
    assert await books.decision("dec_4") is None
    assert await books.decision("' OR 1=1 --") is None


async def test_a_policy_is_kept_under_its_hash(books: SummedStore) -> None:
    files = {"routing.yaml": "rules: [] # caf\u00e9".encode(), "models.yaml": b""}
    await books.keep_policy("abc", files)
    await books.keep_policy("abc", {"routing.yaml": b"another"})
    assert await books.policy_files("abc") == files
    assert await books.policy_files("nobody") is None


# Teams and keys.


async def test_a_team_is_made_once(people: IdentityStore) -> None:
    made = await people.create_team("red", "Reds", 40_000_000_000, actor="admin")
    assert (made.name, made.monthly_budget_nano_usd) == ("red", 40_000_000_000)
    with pytest.raises(Conflict):
        await people.create_team("red", actor="admin")
    assert [team.name for team in await people.teams()] == ["red"]


async def at_once(url: str, count: int, work: Callable[[IdentityStore], Any]) -> list[Any]:
    """The same work from several processes' worth of connections."""
    databases = [Database(url) for _ in range(count)]
    try:
        return await asyncio.gather(
            *(work(IdentityStore(database, PEPPER)) for database in databases), return_exceptions=True
        )
    finally:
        for database in databases:
            await database.close()


async def test_a_team_made_by_many_at_once_is_made_once(url: str, people: IdentityStore) -> None:
    results = await at_once(url, 6, lambda store: store.create_team("red", actor="admin"))
    assert sum(not isinstance(result, Exception) for result in results) == 1
    assert {type(result) for result in results if isinstance(result, Exception)} <= {Conflict}
    assert len(await people.teams()) == 1


async def test_a_team_declared_by_many_at_once_is_declared(url: str, people: IdentityStore) -> None:
    """All replicas start at the same moment and read the same teams.yaml."""
    results = await at_once(url, 6, lambda store: store.declare_team("red", "Reds", 5, actor="admin"))
    assert [result for result in results if isinstance(result, Exception)] == []
    [team] = await people.teams()
    assert (team.title, team.monthly_budget_nano_usd) == ("Reds", 5)


async def test_every_change_is_noticed_and_no_reading_is_a_change(people: IdentityStore) -> None:
    versions = [await people.version()]

    async def changed(work: Any) -> Any:
        result = await work
        versions.append(await people.version())
        return result

    await changed(people.create_team("red", actor="admin"))
    _, info = await changed(people.create_key("red", "app", actor="admin"))
    await changed(people.set_budget("red", 5, actor="admin"))
    await changed(people.declare_team("red", "Reds", 5, actor="admin"))
    await changed(people.rotate_key(info.id, 60, actor="admin"))
    await changed(people.revoke_key(info.id, actor="admin"))
    assert versions == sorted(set(versions))
    await people.declare_team("red", "Reds", 5, actor="admin")
    await people.load()
    await people.keys()
    assert await people.version() == versions[-1]


async def test_changes_by_many_at_once_are_all_counted(url: str, people: IdentityStore) -> None:
    await people.create_team("red", actor="admin")
    before = await people.version()
    results = await at_once(url, 6, lambda store: store.create_key("red", "app", actor="admin"))
    assert [result for result in results if isinstance(result, Exception)] == []
    assert await people.version() == before + 6
    assert len(await people.keys("red")) == 6


async def test_only_live_keys_are_loaded_and_only_as_digests(people: IdentityStore, database: Database) -> None:
    await people.create_team("red", actor="admin")
    kept, _ = await people.create_key("red", "kept", debug=True, actor="admin")
    _, gone = await people.create_key("red", "gone", actor="admin")
    await people.revoke_key(gone.prefix, actor="admin")
    _, keys, teams = await people.load()
    assert [(key.principal.key_name, key.principal.debug) for key in keys] == [("kept", True)]
    assert [team.name for team in teams] == ["red"]
    async with database.session() as session:
        rows = (await session.execute(text("SELECT * FROM api_keys"))).all()
    assert kept not in str(rows)
    assert kept[12:] not in str(rows)


async def test_a_key_of_nobody_is_refused(people: IdentityStore) -> None:
    with pytest.raises(NotFound):
        await people.create_key("nobody", "app", actor="admin")
    for refused in (
        people.revoke_key("key_none", actor="admin"),
        people.rotate_key("key_none", actor="admin"),
        people.set_budget("nobody", 1, actor="admin"),
    ):
        with pytest.raises(NotFound):
            await refused


async def test_a_rotated_key_lives_on_for_the_overlap_and_no_longer_than_before(people: IdentityStore) -> None:
    await people.create_team("red", actor="admin")
    _, old = await people.create_key("red", "app", expires_at=NOVEMBER, actor="admin")
    await people.rotate_key(old.id, overlap_seconds=10**9, actor="admin")
    found = {info.id: info for info in await people.keys("red")}
    assert found[old.id].expires_at == NOVEMBER
    assert len(found) == 2
