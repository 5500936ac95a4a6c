"""PostgreSQL stopped, hanging, refusing under a steady load: who notices, what is lost, how fast is it made good?"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.bodies import PLAIN_MODEL, plain_request
from bench.client import Caller, share
from bench.kills import offline_upstream
from bench.place import cores, fresh
from bench.policies import write_policies
from bench.postgres import connect, postgres
from bench.result import Aim, Figure, Options, Result, ms
from bench.switchyard import Switchyard
from tests.fakes.database_proxy import DatabaseProxy, Mode, database_proxy
from tests.fakes.postgres import Postgres

RATE = 50.0
STOPPED_SECONDS = 600.0
OTHER_SECONDS = 60.0
STEADY_SECONDS = 60.0
CATCH_UP_LIMIT = 300.0
COLUMNS = ("database", "seconds", "calls", "not 200", "p50 ms", "p99 ms", "backlog", "caught up in s", "x inflow")
MODES: tuple[tuple[Mode, float], ...] = (
    ("pass", STEADY_SECONDS),
    ("stop", STOPPED_SECONDS),
    ("hang", OTHER_SECONDS),
    ("refuse", OTHER_SECONDS),
)


def run(options: Options) -> Result:
    """A steady 50 calls a second; the database is away for ten minutes, and for one each in the two other ways."""
    short = options.seconds < 4
    result = Result(
        ["database", "seconds", "calls", "not 200", "p50 ms", "p99 ms", "backlog", "caught up in s", "x inflow"], []
    )
    folder = fresh("away")
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        door = stack.enter_context(database_proxy(server.folder))
        url = server.fresh()
        upstream, upstream_url = offline_upstream(folder / "bill.jsonl", cores().load, folder / "upstream.log")
        stack.enter_context(upstream)
        policies = write_policies(folder / "policies", {"plain": upstream_url, "stream": upstream_url}, rule_count=10)
        ours = stack.enter_context(Switchyard(folder, policies, cores().server, database_url=door.url(url)))
        calls, steady = 0, 0.0
        bad: Counter[int] = Counter()
        worst, slowest_catch = 0.0, float("inf")
        for mode, seconds in MODES:
            span = seconds / 20 if short else seconds
            with _turned(door, mode):
                said, taken = asyncio.run(_load(ours, span))
            calls += sum(said.values())
            p50, p99 = share(taken, 0.5) * 1000, share(taken, 0.99) * 1000
            steady = p99 if mode == "pass" else steady
            backlog, caught = asyncio.run(_caught_up(server, url, calls))
            not_served = Counter({status: count for status, count in said.items() if status != 200})
            bad += not_served
            ratio = backlog / caught / RATE if mode != "pass" and caught else float("inf")
            if mode != "pass":
                worst, slowest_catch = max(worst, p99 - steady), min(slowest_catch, ratio)
            cells = [mode, f"{span:.0f}", f"{sum(said.values()):,}", str(sum(not_served.values())), ms(p50), ms(p99)]
            result.rows.append([*cells, f"{backlog:,}", f"{caught:.1f}", "-" if mode == "pass" else f"{ratio:.0f}"])
        rows = asyncio.run(_rows(server, url))
    result.aims += [
        Aim("100 % of known keys served: no 401, 403, 429", f"{sum(bad.values())} of {calls:,} not 200", not bad),
        Aim("0 rows lost", f"{calls - rows:,} of {calls:,} missing", rows == calls),
        Aim("p99 +<= 1 ms while it is away", f"{worst:+.2f} ms at worst", worst <= 1),
        Aim("catch-up >= 5 times the inflow", f"{slowest_catch:.0f} times at the slowest", slowest_catch >= 5),
    ]
    result.notes.append(
        f"{RATE:.0f} calls a second, open loop, to one worker on one core; PostgreSQL and the upstream share the rest. "
        "The door in front of PostgreSQL is a proxy that shuts, stalls or refuses. The backlog is what waited in the "
        "journal when the door opened again."
    )
    result.numbers |= {"calls": calls, "rows": rows, "p99_worse_ms": worst, "catch_up": slowest_catch}
    return result


@contextmanager
def _turned(door: DatabaseProxy, mode: Mode) -> Iterator[None]:
    # A moment of load before the door is shut is part of no figure.
    timer = threading.Timer(0.0, door.turn, (mode,))
    timer.start()
    try:
        yield
    finally:
        timer.join()
        door.turn("pass")


async def _load(ours: Switchyard, seconds: float) -> tuple[Counter[int], list[float]]:
    caller = Caller(ours.url + "/chat/completions", ours.headers)
    body = plain_request(PLAIN_MODEL)
    said: Counter[int] = Counter()
    taken: list[float] = []

    async def one() -> None:
        status, took = await caller.call(body)
        said[status] += 1
        taken.append(took)

    loop = asyncio.get_running_loop()
    begun = loop.time()
    tasks = []
    for number in range(round(RATE * seconds)):
        await asyncio.sleep(begun + number / RATE - loop.time())
        tasks.append(loop.create_task(one()))
    await asyncio.gather(*tasks)
    await caller.close()
    return said, taken


async def _rows(server: Postgres, url: str) -> int:
    connection = await connect(server, url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM usage_events"))
    finally:
        await connection.close()


async def _caught_up(server: Postgres, url: str, calls: int) -> tuple[int, float]:
    """What was missing when the door opened, and the seconds from the first row that arrived to the last."""
    connection = await connect(server, url)
    query = "SELECT count(*) FROM usage_events"
    first = int(await connection.fetchval(query))
    deadline = time.monotonic() + CATCH_UP_LIMIT
    started = None
    while time.monotonic() < deadline:
        there = int(await connection.fetchval(query))
        if started is None and there > first:
            started = time.monotonic()
        if there >= calls:
            break
        await asyncio.sleep(0.02)
    await connection.close()
    return calls - first, time.monotonic() - started if started is not None else 0.0


FIGURE = Figure("PostgreSQL away for ten minutes, and hanging, and refusing", run)
