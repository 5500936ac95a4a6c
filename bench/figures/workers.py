"""Two workers on two cores against one on one."""

from contextlib import ExitStack

from bench.bodies import plain_request
from bench.field import switchyard, upstreams
from bench.load import Target, in_turns
from bench.nginx import Nginx
from bench.place import all_cores, cores, fresh
from bench.result import Aim, Figure, Options, Result, ms, times, us

ONE, TWO = "one worker, one core", "two workers, two cores"


def run(options: Options) -> Result:
    """In turn. With fewer than three cores the load shares the workers' cores, and calls a second say little."""
    pair = all_cores()[-2:]
    apart = len(all_cores()) >= 3
    with ExitStack() as stack:
        folder = fresh("workers")
        urls = upstreams(stack.enter_context(Nginx("workers-upstream", cores().load)))
        one = switchyard(stack, "workers-one", urls)
        two = switchyard(stack, "workers-two", urls, workers=2, on=pair)
        targets = [
            Target(name, ours.process, ours.url + "/chat/completions", ours.headers, 64)
            for name, ours in ((ONE, one), (TWO, two))
        ]
        found = {
            summary.name: summary
            for summary in in_turns(targets, {"": [plain_request()]}, options.seconds, options.rounds, folder)
        }
        memory = two.process.memory_kb()
    got = found[TWO].per_second / found[ONE].per_second
    capacity = 2 * found[ONE].cpu_us / found[TWO].cpu_us
    rows = [
        [name, f"{summary.per_second:,.0f}", us(summary.cpu_us), ms(summary.p50_ms), ms(summary.p99_ms)]
        for name, summary in found.items()
    ]
    why = (
        ""
        if apart
        else f"two cores only: wrk and the upstream took a share of one; by CPU per call it is {times(capacity)}"
    )
    return Result(
        ["", "calls/s", "CPU us per call", "p50 ms", "p99 ms"],
        rows,
        aims=[
            Aim(
                "two workers on two cores: >= 1.8 x one, load elsewhere", times(got), got >= 1.8 if apart else None, why
            )
        ],
        notes=[
            (
                f"By CPU alone, two cores would serve {times(capacity)} what one does (2 x cost of one / cost of two). "
                f"Both workers and their parent together hold {memory[1] / 1024:.0f} MB (PSS)."
            )
        ],
        numbers={"calls_ratio": got, "capacity_ratio": capacity} | {n: s._asdict() for n, s in found.items()},
    )


FIGURE = Figure("Two workers on two cores", run)
