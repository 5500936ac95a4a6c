"""CPU of one stream whose 104 events come 10 ms apart, against the same server relaying to nothing."""

import statistics
from contextlib import ExitStack

from bench.bodies import EVENTS, stream_request
from bench.client import streams
from bench.field import CHAT, local, paced, relay, switchyard
from bench.load import Target, refuse_failures
from bench.place import fresh
from bench.result import Aim, Figure, Options, Result, times, us

AT_ONCE = 100
EACH = 2
RELAY, ASKED, INJECTED = "bare relay", "Switchyard", "Switchyard, usage injected"


def run(options: Options) -> Result:
    """A hundred streams at a time, twice in each turn."""
    with ExitStack() as stack:
        folder = fresh("paced")
        port = paced(stack, folder)
        process, relay_port = relay(stack, port, folder)
        url = local(port) + "/v1"
        ours = switchyard(stack, "paced-switchyard", {"plain": url, "stream": url})
        ours_url = ours.url + "/chat/completions"
        targets = [
            (Target(RELAY, process, local(relay_port) + CHAT, {}), stream_request()),
            (Target(ASKED, ours.process, ours_url, ours.headers), stream_request()),
            (Target(INJECTED, ours.process, ours_url, ours.headers), stream_request(asks_usage=False)),
        ]
        for target, body in targets:
            _turn(target, body)  # warms it
        found: dict[str, list[float]] = {target.name: [] for target, _ in targets}
        for _ in range(options.rounds):
            for target, body in targets:
                found[target.name].append(_turn(target, body))
    cost = {name: statistics.median(turns) for name, turns in found.items()}
    rows = [[name, us(value), times(value / cost[RELAY])] for name, value in cost.items()]
    got, injected = cost[ASKED] / cost[RELAY], cost[INJECTED] / cost[RELAY]
    each = (cost[ASKED] - cost[RELAY]) / EVENTS
    why = f"{us(each)} us more for each event, the stream's own {us(cost[ASKED] - cost[RELAY])} us among it"
    return Result(
        ["system", "CPU us per stream", "to the bare relay"],
        rows,
        aims=[
            Aim(
                "stream paced: <= 1.2 x the same server relaying to nothing",
                times(got),
                got <= 1.2,
                "" if got <= 1.2 else why,
            ),
            Aim("the same, usage injected", times(injected), injected <= 1.2, "" if injected <= 1.2 else why),
        ],
        notes=[f"{AT_ONCE} streams at a time, {AT_ONCE * EACH} in a turn, {options.rounds} turns."],
        numbers=dict(cost),
    )


def _turn(target: Target, body: bytes) -> float:
    before = target.process.cpu_seconds()
    called = streams(target.url, target.headers, body, AT_ONCE, EACH)
    target.process.settle()
    refuse_failures(target.name, len(called.seconds), called.failed)
    return (target.process.cpu_seconds() - before) * 1e6 / len(called.seconds)


FIGURE = Figure("Stream of 104 events, 10 ms apart", run)
