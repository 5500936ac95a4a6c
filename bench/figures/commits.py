"""The answer to a COMMIT lost a thousand times, and a journal that is shipped three times over, shuffled."""

import asyncio
import random
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from bench.place import fresh
from bench.postgres import connect, postgres
from bench.result import Aim, Figure, Options, Result
from gateway.core.event import Closing, UsageEvent
from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.leases.store import LeaseStore
from gateway.ledger.records import Final
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import LedgerStore
from tests.fakes.books import Books, books
from tests.fakes.calls import DIRECT, SUPPORT, chat, decided, facts
from tests.fakes.database_proxy import DatabaseProxy, database_proxy
from tests.fakes.postgres import Postgres

LOST = 1000
REPLAYS = 3
SEED = 11
SUMS = {
    "rows": "SELECT sum(cost_nano_usd)::bigint FROM usage_events",
    "rollups": "SELECT sum(cost_nano_usd)::bigint FROM usage_rollups",
    "budget": "SELECT sum(base_nano_usd + spent_nano_usd)::bigint FROM budget_pools",
    "count": "SELECT count(*) FROM usage_events",
}


def run(options: Options) -> Result:
    """One process's books through a door that loses every second commit's answer; then everything again, shuffled."""
    del options
    result = Result(["sum of", "after the losses", "after three replays"], [])
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        door = stack.enter_context(database_proxy(server.folder))
        lost, events, counted, first, second = asyncio.run(_measured(server, door, fresh("commits")))
    for name in SUMS:
        result.rows.append([name, f"{first[name]:,}", f"{second[name]:,}"])
    result.rows.append(["counters", f"{counted:,}", f"{counted:,}"])
    money = {first[name] for name in ("rows", "rollups", "budget")} | {
        second[name] for name in ("rows", "rollups", "budget")
    }
    exact = money == {counted} and first["count"] == second["count"] == events
    got = f"{len(money | {counted})} different sum(s), in nano-dollars" if not exact else "one and the same sum"
    aim = (
        f"{lost:,} lost commits and {REPLAYS} shuffled replays: rows = rollups = counters = budget, to the nano-dollar"
    )
    result.aims.append(Aim(aim, got, exact))
    result.notes.append(
        f"{events:,} calls. A proxy lets the COMMIT through, waits for its answer, and cuts the connection."
    )
    result.numbers |= {"lost": lost, "events": events, "exact": exact}
    return result


async def _measured(
    server: Postgres, door: DatabaseProxy, folder: Path
) -> tuple[int, int, int, dict[str, int], dict[str, int]]:
    chance = random.Random(SEED)
    url = server.fresh()
    through, straight = Database(door.url(url)), Database(url)
    await upgrade(straight)
    with books(folder / "journal") as made:
        made.budget(10**15)
        leases = LeaseStore(through)
        shipper = Shipper(made.ledger, LedgerStore(through, leases), made.observed.append, leases)
        door.lose_every = 2
        while door.lost < LOST:
            for _ in range(chance.randint(1, 20)):
                _call(made, chance.randint(1, 5000))
            await _ship(shipper)
        door.lose_every = 0
        await _ship(shipper)
        first = await _sums(server, url)
        finals = [record.event for record in made.records() if isinstance(record, Final)]
        counted = sum(event.cost_nano_usd or 0 for event in made.observed)
        events = len(made.observed)
        await _replay(LedgerStore(straight, LeaseStore(straight)), finals or list(made.observed), made.journal.process)
    second = await _sums(server, url)
    await through.close()
    await straight.close()
    return door.lost, events, counted, first, second


def _call(made: Books, tokens: int) -> None:
    entry = made.open(chat(), SUPPORT, decided(), facts())
    entry.start(DIRECT)
    entry.close(Closing("ok", 200, usage=Usage(tokens, tokens)))


async def _ship(shipper: Shipper) -> None:
    for _ in range(100):
        try:
            await shipper.ship_all()
        except (SQLAlchemyError, OSError):
            continue
        return
    raise RuntimeError("nothing arrives any more")


async def _replay(store: LedgerStore, events: list[UsageEvent], process: str) -> None:
    chance = random.Random(SEED)
    for _ in range(REPLAYS):
        shuffled = chance.sample(events, len(events))
        for start in range(0, len(shuffled), 97):
            await store.ship(shuffled[start : start + 97], [], {}, replica=process)


async def _sums(server: Postgres, url: str) -> dict[str, int]:
    connection = await connect(server, url)
    try:
        return {name: int(await connection.fetchval(query) or 0) for name, query in SUMS.items()}
    finally:
        await connection.close()


FIGURE = Figure("A thousand lost commits, and the journal shipped three times over", run)
