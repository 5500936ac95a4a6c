"""Load to saturation with wrk, and what it cost the server."""

import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.place import cores, tool
from bench.process import Process

SCRIPT = """
local bodies = {}
for line in io.lines("%(bodies)s") do bodies[#bodies + 1] = line end
wrk.method = "POST"
%(headers)s
local next = 0
request = function()
  next = next %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[next])
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nBENCH {"calls":%%d,"micros":%%d,"failed":%%d,"p50":%%d,"p99":%%d}\\n',
    summary.requests, summary.duration, e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


class Target(NamedTuple):
    """Something that takes calls. connections: kept open by the load; a slow server gets fewer,

    because those in flight at the end of a turn cost it time and are not counted.
    """

    name: str
    process: Process
    url: str
    headers: Mapping[str, str]
    connections: int = 32
    # The first calls of a server that builds things on first use.
    warm_seconds: float = 1.0


class Turn(NamedTuple):
    """One turn of load on one target."""

    calls: int
    seconds: float
    failed: int
    p50_ms: float
    p99_ms: float
    cpu_us: float

    @property
    def per_second(self) -> float:
        """Calls completed in a second."""
        return self.calls / self.seconds if self.seconds else 0.0


class Summary(NamedTuple):
    """Medians over the turns of one target."""

    name: str
    cpu_us: float
    least_us: float
    most_us: float
    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int
    calls: int


def saturate(target: Target, bodies: Sequence[bytes], seconds: float, folder: Path) -> Turn:
    """One turn: the load runs, the server settles, and its CPU time is divided by the calls it completed."""
    before = target.process.cpu_seconds()
    found = wrk(target, bodies, seconds, folder)
    target.process.settle()
    if not target.process.is_alive:
        raise RuntimeError(f"{target.name} was ended during its turn; its log: {target.process.log}")
    spent = target.process.cpu_seconds() - before
    calls = found["calls"]
    refuse_failures(target.name, calls, found["failed"])
    return Turn(
        calls=calls,
        seconds=found["micros"] / 1e6,
        failed=found["failed"],
        p50_ms=found["p50"] / 1000,
        p99_ms=found["p99"] / 1000,
        cpu_us=spent * 1e6 / calls if calls else float("nan"),
    )


def refuse_failures(name: str, calls: int, failed: int) -> None:
    """Raises RuntimeError when more than one call in a hundred failed: such a turn measures something else."""
    if failed * 100 > calls or not calls:
        raise RuntimeError(f"{name}: {failed} of {calls} calls failed; nothing is said of it")


def wrk(target: Target, bodies: Sequence[bytes], seconds: float, folder: Path) -> dict[str, int]:
    """wrk's own figures for one turn; the bodies are sent in turn, one line each."""
    lines = folder / "bodies.txt"
    lines.write_bytes(b"\n".join(bodies) + b"\n")
    headers = {"content-type": "application/json", **target.headers}
    script = folder / "load.lua"
    script.write_text(
        SCRIPT
        % {
            "bodies": lines,
            "headers": "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()),
        }
    )
    command = [tool("taskset", "util-linux"), "-c", ",".join(map(str, cores().load))]
    command += [
        tool("wrk", "wrk"),
        "-t1",
        f"-c{target.connections}",
        f"-d{max(1, round(seconds))}s",
        "--timeout",
        "30s",
    ]
    command += ["-s", str(script), target.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    for line in done.stdout.splitlines():
        if line.startswith("BENCH "):
            found: dict[str, int] = json.loads(line[6:])
            return found
    raise RuntimeError(f"wrk said nothing: {done.stdout[-500:]} {done.stderr[-500:]}")


def in_turns(
    targets: Sequence[Target], bodies: Mapping[str, Sequence[bytes]], seconds: float, rounds: int, folder: Path
) -> list[Summary]:
    """Every target in turn, `rounds` times: what the machine does to one round it does to all of it.

    bodies: by a target's name, or under "" for all others.
    """
    turns: dict[str, list[Turn]] = {target.name: [] for target in targets}
    for target in targets:
        wrk(target, _of(bodies, target), target.warm_seconds, folder)
        target.process.settle()
    for _ in range(rounds):
        for target in targets:
            turns[target.name].append(saturate(target, _of(bodies, target), seconds, folder))
    return [_summary(name, found) for name, found in turns.items()]


def _of(bodies: Mapping[str, Sequence[bytes]], target: Target) -> Sequence[bytes]:
    return bodies[target.name] if target.name in bodies else bodies[""]


def _summary(name: str, turns: Sequence[Turn]) -> Summary:
    return Summary(
        name=name,
        cpu_us=statistics.median(turn.cpu_us for turn in turns),
        least_us=min(turn.cpu_us for turn in turns),
        most_us=max(turn.cpu_us for turn in turns),
        per_second=statistics.median(turn.per_second for turn in turns),
        p50_ms=statistics.median(turn.p50_ms for turn in turns),
        p99_ms=statistics.median(turn.p99_ms for turn in turns),
        failed=sum(turn.failed for turn in turns),
        calls=sum(turn.calls for turn in turns),
    )
