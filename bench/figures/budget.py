"""A budget under concurrency: 200 callers on two replicas of four workers, and exactly as much money as 150 cost."""

import asyncio
import json
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import httpx2
import uvloop

from bench.client import Caller
from bench.kills import offline_upstream
from bench.place import all_cores, cores, fresh
from bench.policies import write_policies
from bench.postgres import connect, postgres
from bench.result import Aim, Figure, Options, Result
from bench.switchyard import PEPPER, Switchyard
from gateway.db.engine import Database
from gateway.identity.store import IdentityStore

ROUNDS = 20
CALLERS = 200
PAYABLE = 150
OUTPUT = 16
MODEL = "budget-model"
# USD per million tokens: input costs nothing, so what is set aside for a call is exactly what it costs.
PRICES = f"""prices:
  - {{models: [{MODEL}], input: 0, output: 100.00, source: the bench, read_on: 2026-11-24}}
"""
COST = OUTPUT * 100_000  # nano-dollars
IDLE_SECONDS = 15.0


def run(options: Options) -> Result:
    """A fresh team each round; all calls at once, half to each replica; then the books are read."""
    del options
    folder = fresh("budget")
    result = Result(["round", "served", "refused (429)", "other", "spent of limit", "held when idle"], [])
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        url = server.fresh()
        upstream, upstream_url = offline_upstream(folder / "bill.jsonl", cores().load, folder / "upstream.log")
        stack.enter_context(upstream)
        fault = {"fault": {"delay_ms": 100}, "model": None, "times": None}
        httpx2.post(f"{upstream_url.removesuffix('/v1')}/__offline/faults", json=fault).raise_for_status()
        policies = _policies(folder, upstream_url)
        replicas = []
        for name in ("a", "b"):
            key = replicas[0].key if replicas else ""
            replicas.append(
                stack.enter_context(
                    Switchyard(folder / name, policies, all_cores(), workers=4, key=key, database_url=url)
                )
            )
        served = over = refused_wrongly = held = others = 0
        for number in range(1, ROUNDS + 1):
            said, spent, idle = uvloop.run(_round(replicas, url, server, number))
            served += said[200]
            others += sum(count for status, count in said.items() if status not in {200, 429})
            over = max(over, spent - PAYABLE * COST)
            refused_wrongly += max(0, PAYABLE - said[200])
            held += idle
            rest = sum(said.values()) - said[200] - said[429]
            part = f"{100 * spent / (PAYABLE * COST):.2f} %"
            result.rows.append([str(number), str(said[200]), str(said[429]), str(rest), part, str(idle)])
    limit = PAYABLE * COST
    result.aims += [
        Aim("overshoot 0 against the reservation, <= 1 % at worst", f"{max(0, over) / limit:.2%} at worst", over <= 0),
        Aim("0 false refusals", f"{refused_wrongly} of {ROUNDS * PAYABLE:,} that could be paid", not refused_wrongly),
        Aim("reserved = 0 when idle", f"{held} nano-dollars in all rounds", held == 0),
    ]
    result.notes.append(
        f"{CALLERS} callers at once, half to each of two replicas of four workers on one PostgreSQL; the upstream "
        f"takes 100 ms. The limit pays exactly {PAYABLE} calls, each of which costs what was set aside for it, and so "
        f"anything but {PAYABLE} served is an overshoot or a false refusal. Held when idle: leases "
        "beyond what was spent, of processes asked to give back."
    )
    result.numbers |= {"served": served, "overshoot_nano_usd": max(0, over), "false_refusals": refused_wrongly}
    result.numbers |= {"held_when_idle": held, "other_statuses": others}
    return result


def _policies(folder: Path, url: str) -> Path:
    made = write_policies(folder / "policies", {"plain": url, "stream": url}, rule_count=2)
    models = json.loads((made / "models.yaml").read_text())
    models["models"][MODEL] = {"upstream": "plain"}
    (made / "models.yaml").write_text(json.dumps(models))
    (made / "prices.yaml").write_text(PRICES)
    return made


async def _round(replicas: list[Switchyard], url: str, server: object, number: int) -> tuple[Counter[int], int, int]:
    team = f"round-{number}"
    database = Database(url)
    people = IdentityStore(database, PEPPER.encode())
    await people.create_team(team, "", PAYABLE * COST, actor="bench")
    key, _ = await people.create_key(team, "k", actor="bench")
    await asyncio.sleep(1.5)  # every worker of both replicas has read the new team by then
    body = json.dumps(
        {"model": MODEL, "max_tokens": OUTPUT, "messages": [{"role": "user", "content": "Count to 500"}]}
    ).encode()
    said: Counter[int] = Counter()

    async def one(place: int) -> None:
        caller = Caller(replicas[place % 2].url + "/chat/completions", {"authorization": f"Bearer {key}"})
        status, _ = await caller.call(body)
        said[status] += 1
        await caller.close()

    await asyncio.gather(*(one(place) for place in range(CALLERS)))
    connection = await connect(server, url)  # type: ignore[arg-type]
    pool = f"team/{team}/month@%"
    spent = idle = 0
    deadline = time.monotonic() + IDLE_SECONDS
    while time.monotonic() < deadline:
        await asyncio.sleep(0.3)
        # As a replica that needs more asks it: whoever has reservations open would keep them.
        await connection.execute("UPDATE budget_pools SET wanted = wanted + 1 WHERE id LIKE $1", pool)
        await asyncio.sleep(0.4)
        spent = await connection.fetchval("SELECT sum(spent_nano_usd)::bigint FROM budget_pools WHERE id LIKE $1", pool)
        idle = await connection.fetchval(
            "SELECT coalesce(sum(greatest(0, granted_nano_usd - shipped_nano_usd)), 0)::bigint "
            "FROM budget_leases WHERE pool_id LIKE $1",
            pool,
        )
        if spent == said[200] * COST and not idle:
            break
    await connection.close()
    await database.close()
    return said, int(spent or 0), int(idle)


FIGURE = Figure("A budget under 200 concurrent callers on two replicas of four workers", run)
