"""Budget pools: the same promises over SQLite, PostgreSQL and the stand-in of the tests."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.leases.lender import Pools
from gateway.ledger.leases.rules import BudgetRule, period_of, pool_id, team_budget
from gateway.ledger.leases.store import Granted, LeaseStore, Request
from tests.fakes.calls import NOON
from tests.fakes.pools import MemoryPools

RULE = team_budget("support", 1_000)
PERIOD = period_of("month", "UTC", NOON)
POOL = pool_id(RULE, PERIOD)


class Shared:
    """Pools, and the two things that others do to them."""

    def __init__(self, pools: Pools, database: Database | None) -> None:
        self.pools = pools
        self._database = database

    async def join(self, *replicas: str) -> None:
        for replica in replicas:
            if isinstance(self.pools, LeaseStore):
                await self.pools.join(replica)
            elif isinstance(self.pools, MemoryPools):
                self.pools.replicas.add(replica)

    async def ship(self, replica: str, cost: int) -> None:
        if isinstance(self.pools, MemoryPools):
            self.pools.ship(replica, {POOL: cost})
        elif isinstance(self.pools, LeaseStore):
            assert self._database is not None
            async with self._database.session() as session:
                await self.pools.charge_pools(session, {POOL: cost}, replica)

    async def ask(self, replica: str, owed: int, want: int | None, *, rule: BudgetRule = RULE, **more: Any) -> Granted:
        request = Request(rule, POOL, PERIOD.starts_at, PERIOD.ends_at, owed, want, **more)
        (found,) = await self.pools.exchange(replica, [request])
        return found


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shared]:
    if request.param == "memory":
        yield Shared(MemoryPools(), None)
        return
    url = f"sqlite+aiosqlite:///{tmp_path / 'pools.db'}"
    database = Database(url if request.param == "sqlite" else await request.getfixturevalue("postgres").migrated())
    await upgrade(database)
    yield Shared(LeaseStore(database), database)
    await database.close()


async def test_a_grant_covers_what_is_needed_and_something_ahead(shared: Shared) -> None:
    await shared.join("a")
    found = await shared.ask("a", 0, 100)
    assert found == Granted(granted=250, spent=0, others=0, shipped=0, waits=0)
    assert (await shared.ask("a", 0, 600)).granted == 600


async def test_grants_of_all_replicas_are_never_more_than_the_limit(shared: Shared) -> None:
    await shared.join("a", "b")
    held = {"a": 0, "b": 0}
    for replica, want in (("a", 400), ("b", 400), ("a", 450), ("b", 300), ("a", 200), ("b", 1_000)):
        found = await shared.ask(replica, 0, want)
        held[replica] = found.granted
        assert sum(held.values()) <= 1_000


async def test_what_is_not_left_is_not_granted_and_others_are_asked_to_give_back(shared: Shared) -> None:
    await shared.join("a", "b")
    assert (await shared.ask("a", 100, 700)).granted == 800
    refused = await shared.ask("b", 0, 300, asks=True)
    assert (refused.granted, refused.others, refused.waits) == (0, 800, 1)
    assert await shared.pools.wanted("a") == [POOL]
    assert await shared.pools.wanted("b") == []
    kept = await shared.ask("a", 100, None, gives_back=True)
    assert kept.granted == 100
    assert await shared.pools.wanted("a") == []
    assert (await shared.ask("b", 0, 300)).granted >= 300


async def test_nobody_waits_for_who_has_given_back_all_it_can(shared: Shared) -> None:
    await shared.join("a", "b")
    await shared.ask("a", 900, 0)
    first = await shared.ask("b", 0, 300, asks=True)
    assert first.waits == 1
    await shared.ask("a", 900, None, gives_back=True)
    found = await shared.ask("b", 0, 300, asks=True, asked=first.asked)
    assert (found.others, found.waits, found.asked) == (900, 0, first.asked)


async def test_a_newer_question_of_another_does_not_make_an_answer_to_ones_own_void(shared: Shared) -> None:
    await shared.join("a", "b", "c")
    await shared.ask("a", 900, 0)
    first = await shared.ask("b", 0, 300, asks=True)
    await shared.ask("a", 900, None, gives_back=True)
    assert (await shared.ask("c", 0, 300, asks=True)).waits == 1
    assert (await shared.ask("b", 0, 300, asks=True, asked=first.asked)).waits == 0


async def test_shipped_rows_are_spent_and_no_longer_held(shared: Shared) -> None:
    await shared.join("a", "b")
    await shared.ask("a", 0, 400)
    await shared.ship("a", 150)
    found = await shared.ask("b", 0, 0)
    assert (found.spent, found.others, found.shipped) == (150, 250, 0)
    (seen,) = await shared.pools.look("a", [POOL])
    assert (seen.spent, seen.shipped, seen.is_wanted) == (150, 150, False)


async def test_what_a_call_cost_beyond_its_reservation_is_held_all_the_same(shared: Shared) -> None:
    await shared.join("a", "b")
    await shared.ask("a", 0, 100)
    assert (await shared.ask("a", 900, 0)).granted >= 900
    assert (await shared.ask("b", 0, 200)).granted == 0


async def test_a_lower_limit_grants_nothing_more_and_takes_back_what_is_given(shared: Shared) -> None:
    await shared.join("a")
    await shared.ask("a", 0, 800)
    lower = team_budget("support", 500)
    assert (await shared.ask("a", 0, 900, rule=lower)).granted == 800
    assert (await shared.ask("a", 100, 0, rule=lower, gives_back=True)).granted <= 500


async def test_a_threshold_is_told_once(shared: Shared) -> None:
    await shared.join("a", "b")
    await shared.ask("a", 0, 1)
    told: list[str] = []

    async def tell(_session: Any) -> None:
        told.append("once")

    assert await shared.pools.told(POOL, 80, tell) is True
    assert await shared.pools.told(POOL, 80, tell) is False
    assert await shared.pools.told(POOL, 100, tell) is True
    assert told == ["once", "once"]
