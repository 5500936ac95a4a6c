"""decide() alone, in this process."""

import statistics
import time

from bench.bodies import plain_request
from bench.place import fresh
from bench.policies import write_policies
from bench.result import Aim, Figure, Options, Result, us
from gateway.core.call import Inbound, Principal
from gateway.core.clock import utc_day
from gateway.core.facts import Facts
from gateway.live import load_all
from gateway.policy.decide import decide
from gateway.wire.route import read_call

COUNTS = (1, 100, 1000)
REPEATS = 3000
NOTE = (
    "All rules are looked at: the last one holds. The kinds of rules are those of the plain call. Which rules the "
    "names of a call (team, key, model, endpoint, and the metadata and headers that rules name) let through is "
    "worked out once for equal names; `first of its names` is a call that has to."
)


def run(options: Options) -> Result:
    """The median of single calls, for policies in which the last rule holds."""
    del options
    headers = ((b"host", b"localhost"), (b"content-type", b"application/json"), (b"authorization", b"Bearer x"))
    inbound = Inbound("POST", "/v1/chat/completions", b"/v1/chat/completions", b"", headers, plain_request(), "req", 0)
    call, principal, now = read_call(inbound), Principal("bench", "key_1", "bench"), time.time()
    facts = Facts(now, utc_day(now), 0.5, 0.1)
    rows: list[list[str]] = []
    numbers: dict[str, dict[str, float]] = {}
    for count in COUNTS:
        urls = {"plain": "http://127.0.0.1:1/v1", "stream": "http://127.0.0.1:1/v1"}
        started = time.perf_counter()
        policy = load_all(write_policies(fresh("decide"), urls, rule_count=count)).rulebook.policy
        loaded = time.perf_counter() - started
        taken = []
        for _ in range(max(300, REPEATS // max(1, count // 10))):
            begun = time.perf_counter_ns()
            decide(policy, call, principal, facts, "dec_bench")
            taken.append((time.perf_counter_ns() - begun) / 1000)
        taken.sort()
        first = []
        for number in range(300):
            stranger = Principal(f"team-{number}", "key_1", "bench")
            begun = time.perf_counter_ns()
            decide(policy, call, stranger, facts, "dec_bench")
            first.append((time.perf_counter_ns() - begun) / 1000)
        cold = statistics.median(first)
        p50, p99 = statistics.median(taken), taken[int(len(taken) * 0.99)]
        rows.append([f"{count:,}", us(p50), us(p99), us(cold), f"{loaded * 1000:.0f}"])
        numbers[str(count)] = {"p50_us": p50, "p99_us": p99, "first_us": cold, "load_ms": loaded * 1000}
    hundred = numbers["100"]["p50_us"]
    return Result(
        ["rules", "p50 us", "p99 us", "first of its names p50 us", "reading the files ms"],
        rows,
        aims=[Aim("100 rules that look only at the call: p50 <= 20 us", f"{us(hundred)} us", hundred <= 20)],
        notes=[NOTE],
        numbers=dict(numbers),
    )


FIGURE = Figure("decide() on rules that look only at the call", run)
