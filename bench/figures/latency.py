"""What each system adds to the median call at a low, fixed rate."""

from bench.bodies import plain_request
from bench.client import rate, share
from bench.field import DIRECT, LITELLM, NGINX, RELAY, SWITCHYARD, Field
from bench.load import refuse_failures
from bench.result import Aim, Figure, Options, Result, ms

RATES = (20, 50)


def run(options: Options) -> Result:
    """Everyone in turn at each rate; times of all turns together."""
    with Field("latency") as field:
        targets = field.targets("plain")
        taken: dict[tuple[str, int], list[float]] = {(target.name, at): [] for target in targets for at in RATES}
        failed = 0
        rounds = max(1, options.rounds - 1)
        for _ in range(rounds):
            for at in RATES:
                for target in targets:
                    called = rate(target.url, target.headers, [plain_request()], at, options.seconds)
                    taken[target.name, at] += called.seconds
                    refuse_failures(target.name, len(called.seconds), called.failed)
                    failed += called.failed
        missing = field.rival_missing
    p50 = {key: share(seconds, 0.5) * 1000 for key, seconds in taken.items()}
    p95 = {key: share(seconds, 0.95) * 1000 for key, seconds in taken.items()}
    rows = []
    for target in targets:
        cells = [target.name]
        for at in RATES:
            cells += [ms(p50[target.name, at]), ms(p50[target.name, at] - p50[DIRECT, at]), ms(p95[target.name, at])]
        rows.append(cells)
    over = {at: p50[SWITCHYARD, at] - p50[NGINX, at] for at in RATES}
    columns = ["system"]
    for at in RATES:
        columns += [f"p50 ms at {at}/s", "over direct", "p95 ms"]
    theirs = missing or "; ".join(f"{p50[LITELLM, at] - p50[NGINX, at]:.2f} ms at {at}/s" for at in RATES)
    return Result(
        columns,
        rows,
        aims=[
            Aim(f"p50 at {at} calls a second no more than 1 ms above nginx's", f"{over[at]:+.2f} ms", over[at] <= 1.0)
            for at in RATES
        ],
        notes=[
            (
                f"Open loop from one asyncio client on the load's core, {rounds} turns of {options.seconds:g} s "
                f"each; {failed} failed. LiteLLM over nginx: {theirs}."
            ),
            f"`{DIRECT}` is an nginx with the same bodies on the server's core; `{RELAY}` as above.",
        ],
        numbers={f"{name} at {at}": {"p50_ms": p50[name, at], "p95_ms": p95[name, at]} for name, at in taken},
    )


FIGURE = Figure("Added latency at 20 and 50 calls a second", run)
