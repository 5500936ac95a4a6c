"""kill -9 under load, many times in every mode: is anything billed that is not in the books, or twice there?"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import uvloop

from bench.bodies import PLAIN_MODEL, STREAM_MODEL, plain_request, stream_request
from bench.client import Caller
from bench.corpus import synthetic
from bench.kills import BOOKED, Audit, audit, offline_upstream, read_bill, sqlite_rows
from bench.place import cores, fresh
from bench.policies import write_policies
from bench.postgres import connect, postgres
from bench.result import Aim, Figure, Options, Result
from bench.switchyard import Switchyard
from tests.fakes.postgres import Postgres

KILLS = 20
CALLERS = 120
LEAST_IN_FLIGHT = 100
SEED = 7
SETTLE_SECONDS = 10.0
BROKEN_MODEL = "broken-model"
# What is asked, and where the books are.
MODES = (
    ("plain", "postgresql"),
    ("stream", "postgresql"),
    ("rag", "postgresql"),
    ("fallback", "postgresql"),
    ("plain", "sqlite"),
)
# Slow enough that a hundred calls are in flight at any moment.
DELAYS = {"delay_ms": 250, "chunk_delay_ms": 4}


class Trial(NamedTuple):
    """One kill: what was in flight, and how long it took to serve again and to have the books whole again."""

    in_flight: int
    ready_seconds: float
    settled_seconds: float


def run(options: Options) -> Result:
    """One gateway a mode; the moment of each kill is drawn. The upstream's bill is checked after each restart."""
    del options
    columns = ["mode", "books in", "kills", "least in flight", "billed", "booked", "missing", "twice", "wrong tokens"]
    result = Result([*columns, "estimated", "slowest ready s", "slowest whole s"], [])
    total: list[Audit] = []
    trials: list[Trial] = []
    for mode, kind in MODES:
        with ExitStack() as stack:
            server = stack.enter_context(postgres()) if kind == "postgresql" else None
            found, tried = _mode(mode, server)
        total.append(found)
        trials += tried
        slowest = [f"{max(getattr(one, name) for one in tried):.2f}" for name in ("ready_seconds", "settled_seconds")]
        counts = [found.billed, found.booked, found.missing, found.twice, found.wrong_tokens, found.estimated]
        least = min(one.in_flight for one in tried)
        result.rows.append([mode, kind, str(len(tried)), str(least), *(f"{count:,}" for count in counts), *slowest])
    missing, twice, wrong = (sum(getattr(one, name) for one in total) for name in ("missing", "twice", "wrong_tokens"))
    billed = sum(one.billed for one in total)
    got = f"{missing} missing, {twice} twice, {wrong} with other tokens, of {billed:,}"
    aim = f"{KILLS} kills a mode with >= {LEAST_IN_FLIGHT} in flight: nothing missing, nothing twice, tokens exact"
    enough = min(one.in_flight for one in trials) >= LEAST_IN_FLIGHT
    result.aims.append(Aim(aim, got, not (missing or twice or wrong) and enough))
    ready, whole = max(one.ready_seconds for one in trials), max(one.settled_seconds for one in trials)
    result.aims.append(Aim("back in service within 3 s", f"{ready:.2f} s", ready <= 3))
    result.aims.append(Aim("orphans resolved within 5 s", f"{whole:.2f} s after the start", whole <= 5))
    result.notes.append(
        f"{CALLERS} callers against the bundled offline upstream with --bill, its replies delayed by 250 ms and its "
        "events by 4 ms. Tokens are compared where the row says the provider's usage; calls that a kill cut off are "
        "booked as `estimated`. In mode fallback the first target answers 503."
    )
    result.numbers |= {"/".join(mode): found._asdict() for mode, found in zip(MODES, total, strict=True)}
    result.numbers |= {"ready_s": ready, "whole_s": whole, "least_in_flight": min(one.in_flight for one in trials)}
    return result


def _mode(mode: str, server: Postgres | None) -> tuple[Audit, list[Trial]]:
    draw = random.Random(f"{SEED}{mode}")
    folder = fresh(f"kill9-{mode}")
    database_url = server.fresh() if server is not None else ""
    bill = folder / "bill.jsonl"
    trials = []
    with ExitStack() as stack:
        upstream, url = offline_upstream(bill, cores().load, folder / "upstream.log")
        stack.enter_context(upstream)
        _lay(url, DELAYS, None)
        policies = _policies(folder, url)
        bodies = _bodies(mode, folder)
        ours = stack.enter_context(Switchyard(folder, policies, cores().server, database_url=database_url))
        if mode == "fallback":
            _lay(url, {"status": 503}, BROKEN_MODEL)
        for _ in range(KILLS):
            in_flight = uvloop.run(_until_killed(ours, bodies, draw.uniform(0.8, 1.6)))
            begun = time.monotonic()
            ours = stack.enter_context(
                Switchyard(folder, policies, cores().server, key=ours.key, database_url=database_url)
            )
            ready = ours.ready_seconds
            found = _settled(ours, bill, server)
            trials.append(Trial(in_flight, ready, time.monotonic() - begun))
        ours.process.stop()
        found = _settled(ours, bill, server)
    return found, trials


def _lay(url: str, fault: dict[str, int], model: str | None) -> None:
    body = {"fault": fault, "model": model, "times": None}
    httpx2.post(f"{url.removesuffix('/v1')}/__offline/faults", json=body).raise_for_status()


def _policies(folder: Path, url: str) -> Path:
    corpus = synthetic(folder)
    made = write_policies(
        folder / "policies", {"plain": url, "stream": url}, rule_count=10, collections={"kb": corpus.path}
    )
    models = json.loads((made / "models.yaml").read_text())
    models["models"][BROKEN_MODEL] = {"upstream": "plain"}
    (made / "models.yaml").write_text(json.dumps(models))
    routing = json.loads((made / "routing.yaml").read_text())
    fallback = [{"path": "direct", "model": PLAIN_MODEL}]
    use = {"path": "direct", "model": BROKEN_MODEL, "fallback": fallback}
    routing["rules"].insert(0, {"name": "falls", "when": {"metadata": {"mode": "fallback"}}, "use": use})
    (made / "routing.yaml").write_text(json.dumps(routing))
    # Under a hard budget a model without a price is refused.
    price = f"\n  - {{models: [{BROKEN_MODEL}], input: 1.00, output: 1.00, source: the bench, read_on: 2026-11-24}}\n"
    with (made / "prices.yaml").open("a") as prices:
        prices.write(price)
    return made


def _bodies(mode: str, folder: Path) -> list[bytes]:
    if mode == "plain":
        return [plain_request(PLAIN_MODEL)]
    if mode == "stream":
        return [stream_request(STREAM_MODEL), stream_request(STREAM_MODEL, asks_usage=False)]
    if mode == "rag":
        asked = synthetic(folder).questions[:40]
        return [
            json.dumps({"model": "kb/kb", "messages": [{"role": "user", "content": question}]}).encode()
            for question in asked
        ]
    body = json.loads(plain_request(PLAIN_MODEL)) | {"metadata": {"mode": "fallback"}}
    return [json.dumps(body).encode()]


async def _until_killed(ours: Switchyard, bodies: list[bytes], seconds: float) -> int:
    """Calls without a pause until the kill; gives how many were in flight then."""
    stop = asyncio.Event()
    flying = 0

    async def one(number: int) -> None:
        nonlocal flying
        caller = Caller(ours.url + "/chat/completions", ours.headers)
        turn = number
        try:
            while not stop.is_set():
                flying += 1
                status, _ = await caller.call(bodies[turn % len(bodies)])
                flying -= 1
                turn += 1
                if status != 200:
                    await asyncio.sleep(0.05)
        finally:
            await caller.close()

    callers = [asyncio.create_task(one(number)) for number in range(CALLERS)]
    await asyncio.sleep(seconds)
    in_flight = flying
    ours.process.kill()
    stop.set()
    await asyncio.gather(*callers)
    return in_flight


def _rows(ours: Switchyard, server: Postgres | None) -> Sequence[Sequence[Any]]:
    if server is None:
        return sqlite_rows(ours.database)

    async def read() -> list[Sequence[Any]]:
        connection = await connect(server, ours.database_url)
        try:
            return list(await connection.fetch(BOOKED))
        finally:
            await connection.close()

    return asyncio.run(read())


def _settled(ours: Switchyard, bill: Path, server: Postgres | None) -> Audit:
    """The audit once nothing is missing any more, or after a while as it is: the shipper has its rhythm."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        found = audit(read_bill(bill), _rows(ours, server))
        if not found.missing or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


FIGURE = Figure("kill -9 under load, 20 times in each of four modes, on PostgreSQL and on SQLite", run)
