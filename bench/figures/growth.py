"""Whether a call costs more when there is more of everything."""

import json
from contextlib import ExitStack
from pathlib import Path

from bench.bodies import plain_request
from bench.field import SWITCHYARD, switchyard, upstreams
from bench.load import Target, in_turns
from bench.nginx import Nginx
from bench.place import cores, fresh
from bench.result import Aim, Figure, Options, Result, times, us

BASE = "1 key, 1 rule, 1 team, 1 collection"
CASES: dict[str, dict[str, int]] = {
    BASE: {},
    "1,000 keys": {"keys": 1000},
    "100,000 keys": {"keys": 100_000},
    "100 rules": {"rule_count": 100},
    "1,000 rules": {"rule_count": 1000},
    "1,000 teams": {"teams": 1000, "keys": 1000},
    "50 collections": {"collections": 50},
}
# What two turns of the same server differ by on a quiet machine.
FLAT = 1.15


def run(options: Options) -> Result:
    """A gateway for each case, all up at once, in turn."""
    with ExitStack() as stack:
        folder = fresh("growth")
        urls = upstreams(stack.enter_context(Nginx("growth-upstream", cores().load)))
        targets, servers = [], {}
        for place, (name, case) in enumerate(CASES.items()):
            given: dict[str, object] = {"rule_count": 1, **case}
            given["collections"] = _collections(folder / str(place), case.get("collections", 1))
            ours = servers[name] = switchyard(stack, f"growth-{place}", urls, **given)
            targets.append(Target(name, ours.process, ours.url + "/chat/completions", ours.headers))
        idle = {name: ours.process.memory_kb()[0] / 1024 for name, ours in servers.items()}
        found = in_turns(targets, {"": [plain_request()]}, options.seconds, max(1, options.rounds - 1), folder)
        after = {name: ours.process.memory_kb()[0] / 1024 for name, ours in servers.items()}
        ready = {name: ours.ready_seconds for name, ours in servers.items()}
    cpu = {summary.name: summary.cpu_us for summary in found}
    rows = [
        [
            name,
            us(cpu[name]),
            times(cpu[name] / cpu[BASE]),
            f"{idle[name]:.0f}",
            f"{after[name]:.0f}",
            f"{ready[name]:.2f}",
        ]
        for name in CASES
    ]
    return Result(
        ["case", f"CPU us per call ({SWITCHYARD})", "to the first", "RSS MB at start", "RSS MB after load", "ready s"],
        rows,
        aims=[_aim(name, cpu[name], cpu[BASE]) for name in CASES if name != BASE],
        notes=[f"Flat is read as: no more than {FLAT:g} times the first row. Keys are added straight to the table."],
        numbers={
            name: {"cpu_us": cpu[name], "rss_start_mb": idle[name], "rss_mb": after[name], "ready_seconds": ready[name]}
            for name in CASES
        },
    )


def _aim(name: str, cost: float, base: float) -> Aim:
    got = cost / base
    why = ""
    if got > FLAT and "rules" in name:
        count = CASES[name]["rule_count"]
        why = f"{cost - base:,.0f} us more, {(cost - base) / count:.2f} us a rule"
    return Aim(f"growth: flat at {name}", times(got), got <= FLAT, why)


def _collections(folder: Path, count: int) -> dict[str, Path]:
    folder.mkdir(parents=True)
    made = {}
    for number in range(count):
        path = folder / f"collection-{number}.jsonl"
        document = {"id": "one", "title": "Refunds", "text": f"Refunds of collection {number} take five days."}
        path.write_text(json.dumps(document) + "\n")
        made[f"collection-{number}"] = path
    return made


FIGURE = Figure("Growth with keys, rules, teams and collections", run)
