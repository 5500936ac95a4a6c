"""Eight writers on PostgreSQL at once, over the same teams, days and budgets: do two ever wait for each other?"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack

from msgspec.structs import replace

from bench.postgres import connect, postgres
from bench.result import Aim, Figure, Options, Result
from gateway.core.ids import new_id
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.leases.rules import period_of, pool_id, team_budget
from gateway.ledger.leases.store import LeaseStore, Request
from gateway.ledger.store import LedgerStore
from tests.fakes.calls import closed
from tests.fakes.postgres import Postgres

WRITERS = 8
SECONDS = 600.0
TEAMS = 12
BATCH = 200
SEED = 5


def run(options: Options) -> Result:
    """Each writer ships batches and takes leases as fast as it can; PostgreSQL counts the deadlocks."""
    seconds = SECONDS if options.seconds >= 4 else options.seconds * 10
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        rows, exchanges, failed, deadlocks, exact = asyncio.run(_measured(server, seconds))
    result = Result(["writers", "seconds", "rows", "rows a second", "leases", "failed", "deadlocks"], [])
    cells = [WRITERS, f"{seconds:.0f}", f"{rows:,}", f"{rows / seconds:,.0f}", f"{exchanges:,}", failed, deadlocks]
    result.rows.append([str(cell) for cell in cells])
    aim = f"{WRITERS} writers for {seconds / 60:.0f} minutes: 0 deadlocks"
    result.aims.append(Aim(aim, f"{deadlocks} deadlocks, {failed} failed transactions", not (deadlocks or failed)))
    result.aims.append(Aim("and the sums of rows, rollups and budgets are the same", str(exact), exact))
    result.notes.append(
        f"{TEAMS} teams, each with a budget; batches of {BATCH} rows over all of them, in one process of eight tasks "
        "with a connection pool each, against a PostgreSQL on the same two cores."
    )
    result.numbers |= {"rows": rows, "rows_a_second": rows / seconds, "deadlocks": deadlocks, "failed": failed}
    return result


async def _measured(server: Postgres, seconds: float) -> tuple[int, int, int, int, bool]:
    url = server.fresh()
    databases = [Database(url) for _ in range(WRITERS)]
    await upgrade(databases[0])
    ends = time.monotonic() + seconds
    found = await asyncio.gather(*(_writer(number, database, ends) for number, database in enumerate(databases)))
    connection = await connect(server, url)
    # Statistics reach the view a moment after the backend has sent them.
    await asyncio.sleep(1.5)
    name = url.partition("@/")[2].partition("?")[0]
    deadlocks = await connection.fetchval("SELECT deadlocks FROM pg_stat_database WHERE datname = $1", name)
    sums = [
        await connection.fetchval(f"SELECT sum({column})::bigint FROM {table}")
        for table, column in (
            ("usage_events", "cost_nano_usd"),
            ("usage_rollups", "cost_nano_usd"),
            ("budget_pools", "base_nano_usd + spent_nano_usd"),
            ("budget_leases", "shipped_nano_usd"),
        )
    ]
    await connection.close()
    for database in databases:
        await database.close()
    rows, exchanges, failed = (sum(part) for part in zip(*found, strict=True))
    return rows, exchanges, failed, int(deadlocks), len(set(sums)) == 1


async def _writer(number: int, database: Database, ends: float) -> tuple[int, int, int]:
    chance = random.Random(SEED + number)
    leases = LeaseStore(database)
    store = LedgerStore(database, leases)
    replica = f"writer-{number}"
    await leases.join(replica)
    owed = dict.fromkeys(range(TEAMS), 0)
    rows = exchanges = failed = 0
    while time.monotonic() < ends:
        batch = [_event(chance, owed) for _ in range(BATCH)]
        try:
            await store.ship(batch, [], {f"{replica}.journal": rows}, replica=replica)
            rows += len(batch)
            teams: Sequence[int] = chance.sample(range(TEAMS), 5)
            await leases.exchange(replica, [_request(team, owed[team]) for team in teams])
            exchanges += len(teams)
            await leases.beat(replica, may_close=True)
        except Exception:  # noqa: BLE001  # counted: what a writer is told does not matter here, that it is told does
            failed += 1
    return rows, exchanges, failed


def _event(chance: random.Random, owed: dict[int, int]) -> object:
    team, cost = chance.randrange(TEAMS), chance.randrange(1, 10**6)
    owed[team] += cost
    at = time.time() - chance.randrange(0, 3) * 86_400
    rule = team_budget(f"team-{team}", 10**15)
    made = closed(
        id=new_id("call") + ".1",
        call_id=new_id("call"),
        at=at,
        team=rule.name,
        model=f"model-{chance.randrange(4)}",
        cost_nano_usd=cost,
        cost_by_kind=(("input", cost),),
    )
    return replace(made, pools=(pool_id(rule, period_of("month", "UTC", at)),))


def _request(team: int, owed: int) -> Request:
    rule = team_budget(f"team-{team}", 10**15)
    period = period_of("month", "UTC", time.time())
    return Request(rule, pool_id(rule, period), period.starts_at, period.ends_at, owed, 1000, asks=True)


FIGURE = Figure("Eight writers on PostgreSQL for ten minutes", run)
