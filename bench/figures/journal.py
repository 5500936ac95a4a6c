"""One append to the journal, in this process."""

import time

from bench.client import share
from bench.place import fresh
from bench.result import Figure, Options, Result, us
from gateway.core.event import UsageEvent
from gateway.core.usage import Usage
from gateway.ledger.journal import Journal
from gateway.ledger.records import Final, Intent

CALLS = 5000


def run(options: Options) -> Result:
    """An intent and a final record for each of 5,000 calls, as the ledger writes them; fsync goes on beside."""
    del options
    journal = Journal(fresh("journal"))
    intents, finals = [], []
    try:
        for number in range(CALLS):
            event = _event(number)
            begun = time.perf_counter_ns()
            journal.append(Intent(event))
            between = time.perf_counter_ns()
            journal.finish(Final(event))
            finals.append((time.perf_counter_ns() - between) / 1000)
            intents.append((between - begun) / 1000)
    finally:
        journal.close()
    rows, numbers = [], {}
    for name, taken in (("intent", intents), ("final", finals)):
        rows.append([name, us(share(taken, 0.5)), us(share(taken, 0.99)), us(max(taken))])
        numbers[name] = {"p50_us": share(taken, 0.5), "p99_us": share(taken, 0.99)}
    return Result(
        ["record", "p50 us", "p99 us", "longest us"],
        rows,
        notes=["Encoding, checksum and write; the group fsync runs in its own thread and is not waited for."],
        numbers=dict(numbers),
    )


def _event(number: int) -> UsageEvent:
    return UsageEvent(
        id=f"call_{number}.1",
        call_id=f"call_{number}",
        attempt=1,
        last=True,
        at=1_790_000_000.0,
        team="bench",
        key_id="key_1",
        endpoint="chat",
        asked_model="gpt-4.1-mini",
        path="direct",
        upstream="plain",
        model="gpt-4.1-mini",
        line=None,
        rule="everything-else",
        collections=(),
        outcome="ok",
        status=200,
        error="",
        stream=False,
        usage=Usage(31, 101),
        cost_nano_usd=174_000,
        cost_by_kind=(("input", 12_400), ("output", 161_600)),
        cost_status="priced",
        price_source="genai-prices",
        context_tokens=0,
        seconds=0.5,
        first_byte_seconds=0.4,
        upstream_seconds=0.5,
    )


FIGURE = Figure("Journal append", run)
