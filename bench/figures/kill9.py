"""kill -9 under load, ten times: is anything billed that is not in the books, or twice there?"""

import asyncio
import random
import time
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench.bodies import PLAIN_MODEL, STREAM_MODEL, plain_request, stream_request
from bench.kills import Audit, audit, load, offline_upstream, read_bill
from bench.place import cores, fresh
from bench.policies import write_policies
from bench.result import Aim, Figure, Options, Result
from bench.switchyard import Switchyard

KILLS = 10
CALLERS = 12
SEED = 7
SHIPPED_SECONDS = 10.0
BODIES = [
    plain_request(PLAIN_MODEL),
    stream_request(STREAM_MODEL),
    plain_request(PLAIN_MODEL),
    stream_request(STREAM_MODEL, asks_usage=False),
]


def run(options: Options) -> Result:
    """Half plain calls and half streams; the moment of each kill is drawn. The bill is checked after each restart."""
    del options
    draw = random.Random(SEED)
    result = Result(["kill", "calls answered", "billed so far", "booked", "missing", "twice", "wrong tokens"], [])
    folder = fresh("kill9")
    bill = folder / "bill.jsonl"
    with ExitStack() as stack:
        upstream, url = offline_upstream(bill, cores().load, folder / "upstream.log")
        stack.enter_context(upstream)
        policies = write_policies(folder / "policies", {"plain": url, "stream": url}, rule_count=10)
        ours = stack.enter_context(Switchyard(folder, policies, cores().server))
        found = None
        for number in range(1, KILLS + 1):
            answered = uvloop.run(_until_killed(ours, draw.uniform(0.6, 2.0)))
            ours = stack.enter_context(Switchyard(folder, policies, cores().server, key=ours.key))
            found = _settled(ours, bill)
            counts = [found.billed, found.booked, found.missing, found.twice, found.wrong_tokens]
            result.rows.append([str(number), str(answered), *map(str, counts)])
        if found is None:
            raise RuntimeError("nobody was killed")
        ours.process.stop()
        found = _settled(ours, bill)
    good = not (found.missing or found.twice or found.wrong_tokens)
    got = f"{found.missing} missing, {found.twice} twice, {found.wrong_tokens} with other tokens, of {found.billed:,}"
    result.aims.append(
        Aim("kill -9 under load ten times: nothing billed is missing, nothing is there twice", got, good)
    )
    result.notes.append(
        f"{CALLERS} callers, half plain and half streams, against the bundled offline upstream with --bill. Tokens are "
        f"compared where the row says the provider's usage; {found.estimated} calls cut off by a kill are booked as "
        f"`estimated`, and {found.unbilled} rows are of calls that the upstream had not counted when it lost them."
    )
    result.numbers |= found._asdict()
    return result


async def _until_killed(ours: Switchyard, seconds: float) -> int:
    stop = asyncio.Event()
    task = asyncio.create_task(load(ours.url + "/chat/completions", ours.headers, BODIES, CALLERS, stop))
    await asyncio.sleep(seconds)
    ours.process.kill()
    stop.set()
    return await task


def _settled(ours: Switchyard, bill: Path) -> Audit:
    """The audit once nothing is missing any more, or after a while as it is: the shipper has its rhythm."""
    deadline = time.monotonic() + SHIPPED_SECONDS
    while True:
        found = audit(read_bill(bill), ours.database)
        if not found.missing or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


FIGURE = Figure("kill -9 under load, ten times", run)
