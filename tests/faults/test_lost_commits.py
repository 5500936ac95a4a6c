"""The answer to a COMMIT is lost with its connection: carried out or not? The books come out exact either way."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway.core.event import Closing
from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.leases.store import LeaseStore
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import LedgerStore
from tests.fakes.books import Books, books
from tests.fakes.calls import DIRECT, SUPPORT, chat, decided, facts
from tests.fakes.database_proxy import DatabaseProxy, database_proxy
from tests.fakes.postgres import Postgres


@pytest.fixture
def door(postgres: Postgres) -> Iterator[DatabaseProxy]:
    with database_proxy(postgres.folder) as proxy:
        yield proxy


def call(made: Books, tokens: int) -> None:
    entry = made.open(chat(), SUPPORT, decided(), facts())
    entry.start(DIRECT)
    entry.close(Closing("ok", 200, usage=Usage(tokens, tokens)))


async def ship(shipper: Shipper) -> int:
    """Ships until it is done; gives how often it had to begin again."""
    for tries in range(50):
        try:
            await shipper.ship_all()
        except (SQLAlchemyError, OSError):
            continue
        return tries
    raise AssertionError("nothing arrives any more")


async def sums(database: Database) -> dict[str, int]:
    queries = {
        "rows": "SELECT coalesce(sum(cost_nano_usd), 0) FROM usage_events",
        "count": "SELECT count(*) FROM usage_events",
        "rollups": "SELECT coalesce(sum(cost_nano_usd), 0) FROM usage_rollups",
        "attempts": "SELECT coalesce(sum(attempts), 0) FROM usage_rollups",
        "budget": "SELECT coalesce(sum(base_nano_usd + spent_nano_usd), 0) FROM budget_pools",
        "shipped": "SELECT coalesce(sum(shipped_nano_usd), 0) FROM budget_leases",
    }
    async with database.session() as session:
        return {name: int((await session.execute(text(query))).scalar_one()) for name, query in queries.items()}


@pytest.mark.parametrize("lost", [60, pytest.param(1000, marks=pytest.mark.soak)])
async def test_rows_rollups_counters_and_budget_stay_the_same_sum(
    tmp_path: Path, postgres: Postgres, door: DatabaseProxy, lost: int
) -> None:
    chance = random.Random(20261124)
    url = postgres.fresh()
    through, straight = Database(door.url(url)), Database(url)
    await upgrade(straight)
    again = 0
    with books(tmp_path / "journal") as made:
        made.budget(10**15)
        leases = LeaseStore(through)
        shipper = Shipper(made.ledger, LedgerStore(through, leases), made.observed.append, leases)
        door.lose_every = 2
        while door.lost < lost:
            for _ in range(chance.randint(1, 5)):
                call(made, chance.randint(1, 1000))
            again += await ship(shipper)
        door.lose_every = 0
        await ship(shipper)
        counted = sum(event.cost_nano_usd or 0 for event in made.observed)
        found = await sums(straight)
        assert again >= lost
        assert found == {
            "rows": counted,
            "rollups": counted,
            "budget": counted,
            "shipped": counted,
            "count": len(made.observed),
            "attempts": len(made.observed),
        }
        (meter,) = made.budgets.meters(SUPPORT, (), made.hands.wall)
        assert (meter.used, meter.shipped, meter.reserved) == (counted, counted, 0)
    await through.close()
    await straight.close()
