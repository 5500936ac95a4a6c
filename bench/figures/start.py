"""How soon it is ready, and what it holds in memory when idle."""

import statistics
import time
from contextlib import ExitStack

from bench.bodies import plain_request
from bench.client import rate
from bench.field import upstreams
from bench.litellm import LiteLlm
from bench.nginx import Nginx
from bench.place import Unavailable, cores, fresh
from bench.policies import write_policies
from bench.result import Aim, Figure, Options, Result
from bench.switchyard import Switchyard

STARTS = 5
IDLE_SECONDS = 4.0


def run(options: Options) -> Result:
    """Five starts on the same data; one call each, then its memory."""
    del options
    ready: list[float] = []
    memory: list[tuple[int, int]] = []
    with ExitStack() as stack:
        upstream = stack.enter_context(Nginx("start-upstream", cores().load))
        folder = fresh("start")
        policies = write_policies(folder / "policies", upstreams(upstream))
        key = ""
        # One more than counted: it compiles modules.
        for _ in range(STARTS + 1):
            with Switchyard(folder, policies, cores().server, key=key) as ours:
                key = ours.key
                ready.append(ours.ready_seconds)
                rate(ours.url + "/chat/completions", ours.headers, [plain_request()], 10, 0.2)
                time.sleep(1.0)
                memory.append(ours.process.memory_kb())
        with Switchyard(folder, policies, cores().server, key=key) as ours:
            idle = _idle_percent(ours)
        rows = [["Switchyard", *_cells(ready[1:], memory[1:])]]
        try:
            with LiteLlm(upstream, cores().server) as first:
                del first
            with LiteLlm(upstream, cores().server) as theirs:
                rate(theirs.url + "/chat/completions", theirs.headers, [plain_request()], 10, 0.2)
                time.sleep(1.0)
                rows.append(["LiteLLM (one start)", *_cells([theirs.ready_seconds], [theirs.process.memory_kb()])])
        except (Unavailable, RuntimeError) as fault:
            rows.append(["LiteLLM", "not measured", str(fault)[:200], "", ""])
    seconds = statistics.median(ready[1:])
    rss = statistics.median(found for found, _ in memory[1:]) / 1024
    return Result(
        ["system", "ready s (median)", "least - most", "VmRSS MB", "PSS MB"],
        rows,
        aims=[
            Aim("ready after start: <= 1 s", f"{seconds:.2f} s", seconds <= 1),
            Aim("memory idle: <= 120 MB a worker", f"{rss:.0f} MB", rss <= 120),
        ],
        notes=[
            (
                f"From the process's start to 200 at /readyz, asked every 10 ms, {STARTS} starts on a database that is "
                "up to date; a first start, which compiles modules, is left out for both systems. Memory a second "
                f"after a call. A gateway that nobody calls takes {idle:.1f} % of a core."
            )
        ],
        numbers={
            "ready_seconds": ready[1:],
            "first_ready_seconds": ready[0],
            "memory_kb": memory[1:],
            "idle_percent": idle,
        },
    )


def _idle_percent(ours: Switchyard) -> float:
    ours.process.settle()
    before = ours.process.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    return (ours.process.cpu_seconds() - before) / IDLE_SECONDS * 100


def _cells(ready: list[float], memory: list[tuple[int, int]]) -> list[str]:
    rss = statistics.median(found for found, _ in memory) / 1024
    pss = statistics.median(found for _, found in memory) / 1024
    return [f"{statistics.median(ready):.2f}", f"{min(ready):.2f} - {max(ready):.2f}", f"{rss:.0f}", f"{pss:.0f}"]


FIGURE = Figure("Start and idle memory", run)
