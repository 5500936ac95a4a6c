"""One of two targets goes bad: it answers 500, hangs, or drips one byte a second. What do callers see of it?"""

import json
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from bench.bodies import PLAIN_MODEL, STREAM_MODEL, plain_request
from bench.client import Called, rate, share
from bench.faulty import MODES
from bench.field import local, paced
from bench.place import cores, free_port, fresh
from bench.policies import write_policies
from bench.process import Process, clean_environment
from bench.result import Aim, Figure, Options, Result, ms
from bench.switchyard import Switchyard

PER_SECOND = 150
# Long enough for a second probe: the breaker opens for ten seconds, then for twenty.
SECONDS = 35
DEADLINE_SECONDS = 2.0
FIRST_TOKEN_SECONDS = 0.5
FAULTY, WELL = "faulty", "well"
SERVED, P50, P99 = 0.999, 0.5, 0.99


class Attempts(NamedTuple):
    """Tries at one upstream by their outcome."""

    upstream: str
    outcomes: dict[str, int]

    def told(self) -> str:
        """As shown."""
        return ", ".join(f"{count:,} x {outcome}" for outcome, count in sorted(self.outcomes.items())) or "none"


def run(options: Options) -> Result:
    """A gateway anew for each mode, so that each begins with a closed breaker."""
    del options
    columns = ["first target", "calls", "served", "p50 ms", "p99 ms", "most ms", "tries at it", "at the other"]
    result = Result(columns, [])
    worst_share, worst_p99 = 1.0, 0.0
    for mode in MODES:
        called, attempts = _measured(mode)
        count = len(called.seconds) + called.failed
        served = len(called.seconds) / count
        p50, p99 = (share(called.seconds, part) * 1000 for part in (P50, P99))
        most = max(called.seconds) * 1000
        worst_share, worst_p99 = min(worst_share, served), max(worst_p99, p99)
        tries = [attempts[name].told() for name in (FAULTY, WELL)]
        result.rows.append([mode, f"{count:,}", f"{served:.3%}", ms(p50), ms(p99), ms(most), *tries])
        result.numbers[mode] = {
            "calls": count,
            "served": served,
            "p50_ms": p50,
            "p99_ms": p99,
            "most_ms": most,
            "attempts": {name: found.outcomes for name, found in attempts.items()},
        }
    aim = "one of two targets answers 500, hangs or drips: callers see >= 99.9 % success"
    result.aims = [
        Aim(aim, f"{worst_share:.3%} at worst", worst_share >= SERVED),
        Aim(
            f"the same: p99 within the deadline of {DEADLINE_SECONDS:g} s",
            f"{ms(worst_p99)} ms at worst",
            worst_p99 <= DEADLINE_SECONDS * 1000,
        ),
    ]
    result.numbers["deadline_seconds"] = DEADLINE_SECONDS
    result.notes.append(
        f"{PER_SECOND} plain calls a second for {SECONDS} s, begun whatever became of those before, every one to the "
        f"bad target first; first_byte and first_token {FIRST_TOKEN_SECONDS:g} s, the call's deadline "
        f"{DEADLINE_SECONDS:g} s, two attempts at each upstream. Callers do not retry. The breaker opens after five "
        "failures; who was sent before that, and each later probe, waits a first_token time for its fallback."
    )
    return result


def _measured(mode: str) -> tuple[Called, dict[str, Attempts]]:
    with ExitStack() as stack:
        folder = fresh(f"resilience-{mode}")
        faulty = free_port()
        command = [sys.executable, "-m", "bench.faulty", str(faulty), mode]
        process = stack.enter_context(Process(command, cores().load, folder / "faulty.log", clean_environment()))
        process.wait_listening(faulty)
        urls = {FAULTY: local(faulty) + "/v1", WELL: local(paced(stack, folder)) + "/v1"}
        ours = stack.enter_context(Switchyard(folder, _policies(folder / "policies", urls), cores().server))
        called = rate(ours.url + "/chat/completions", ours.headers, [plain_request()], PER_SECOND, SECONDS)
        return called, _attempts(ours.port)


def _policies(folder: Path, urls: dict[str, str]) -> Path:
    write_policies(folder, urls, rule_count=1)
    limits = {"connect": 1, "first_byte": FIRST_TOKEN_SECONDS, "first_token": FIRST_TOKEN_SECONDS, "between": 1}
    upstreams = {name: {"base_url": url, "provider": "openai", "timeouts": limits} for name, url in urls.items()}
    models = {PLAIN_MODEL: {"upstream": FAULTY}, STREAM_MODEL: {"upstream": WELL}}
    (folder / "models.yaml").write_text(json.dumps({"upstreams": upstreams, "models": models}))
    use = {
        "path": "direct",
        "fallback": [{"path": "direct", "model": STREAM_MODEL}],
        "deadline": DEADLINE_SECONDS,
    }
    (folder / "routing.yaml").write_text(json.dumps({"rules": [{"name": "two-targets", "use": use}]}))
    return folder


def _attempts(port: int) -> dict[str, Attempts]:
    with urllib.request.urlopen(f"{local(port)}/metrics", timeout=10) as reply:  # our own gateway
        text = reply.read().decode()
    found = {name: Attempts(name, {}) for name in (FAULTY, WELL)}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "gateway_upstream_attempts_total":
                found[sample.labels["upstream"]].outcomes[sample.labels["outcome"]] = int(sample.value)
    return found


FIGURE = Figure("One of two targets goes bad", run)
