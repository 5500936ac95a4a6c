"""RouteBench: does the policy send a call to the model that was tuned for it, to the documents, or to neither?

The gateway's own parts in this process: its policy files, its library and its examples, loaded from the data set;
evidence is gathered as for a live call, weights are fitted by what `gateway policy fit` runs, and each call is then
decided by `decide` under a policy with those weights. Fitted on one half of the conversations and scored on the
other, in both directions.
"""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from bench.place import Unavailable, fresh
from gateway.app import Gateway
from gateway.core.clock import utc_day
from gateway.core.decision import Decision
from gateway.core.facts import Facts
from gateway.core.settings import Settings, database_url
from gateway.explained import decide_looking
from gateway.fit import Gathered, LabelledCall, as_file, fit_all, gather
from gateway.policy.decide import Policy, decide_seen
from gateway.policy.fitting import f1_by_label
from gateway.policy.load import load, read_texts
from gateway.policy.signals_file import BUILT_IN
from gateway.policy.weights import Weights

ROUTES = ("fine_tuned", "rag", "direct")
# The team that may read everything, and the one that the documents of `mtrag` are kept from.
READER, OUTSIDER = "reader", "outsider"
CLOSED = "kb-mtrag"


class Score(msgspec.Struct):
    """What came of one way of comparing. F1 over the first three labels, targets where the route was right."""

    macro_f1: float
    accuracy: float
    by_label: dict[str, float]
    right_target: float
    right_target_unanswerable_too: float
    violations: int
    scored: int
    no_answer_to_rag: float
    calls: list[dict[str, Any]]


class Latency(msgspec.Struct):
    """Milliseconds that deciding took, everything looked up included."""

    p50: float
    p95: float
    p99: float


def read_requests(folder: Path) -> list[dict[str, Any]]:
    """The labelled requests. Raises Unavailable when the data set is not there."""
    file = folder / "requests.jsonl"
    if not file.exists():
        raise Unavailable("the data set routebench-dev is not in the data folder")
    return [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]


def write_folder(data: Path, embedder: Path | None) -> Path:
    """Policies for the data set: one rule a tuned model, one for the documents, and the plain model."""
    folder = fresh("routing") / "policies"
    folder.mkdir(parents=True)
    trained = data / "training_files"
    lines = sorted(path.stem for path in trained.glob("*.jsonl"))
    collections = sorted(path.stem for path in (data / "kbs").glob("*.jsonl"))
    for name in collections:
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            for line in (data / "kbs" / f"{name}.jsonl").read_text("utf-8").splitlines():
                told = json.loads(line)
                title = told.get("title") or told["text"][:40]
                out.write(json.dumps({"id": told["_id"], "title": title, "text": told["text"]}) + "\n")
    rules: list[dict[str, Any]] = [
        {"name": f"task-{line}", "when": {"task": {"line": line}}, "use": {"path": "fine_tuned", "line": line}}
        for line in lines
    ]
    rag = {"path": "rag", "collections": collections, "model": "plain"}
    rules.append({"name": "documents", "when": {"knowledge": {"collections": collections}}, "use": rag})
    rules.append({"name": "plain", "use": {"path": "direct", "model": "plain"}})
    version = {"upstream": "main", "base": "plain"}
    files: dict[str, Any] = {
        "routing": {"rules": rules},
        "models": {
            "upstreams": {"main": {"base_url": "http://127.0.0.1:9/v1"}},
            "models": {"plain": {"upstream": "main"}},
            "lines": {
                line: {
                    "versions": [
                        version | {"id": f"ft:{line}", "training_file": str(data / "training_files" / f"{line}.jsonl")}
                    ]
                }
                for line in lines
            },
        },
        "knowledge": {
            "collections": {
                name: {
                    "sources": [{"kind": "jsonl", "path": f"{name}.jsonl"}],
                    "teams": [READER] if name == CLOSED else [READER, OUTSIDER],
                    **({"embedder": "local"} if embedder else {}),
                }
                for name in collections
            },
            "embedders": {"local": {"kind": "onnx", "path": str(embedder), "max_tokens": 128}} if embedder else {},
        },
    }
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), "utf-8")
    if embedder:
        _name_embedder(folder)
    return folder


def _name_embedder(folder: Path) -> None:
    (folder / "signals.yaml").write_text("embedder: local\n" + BUILT_IN.read_text("utf-8"), "utf-8")


class Bench:
    """A gateway's parts over the data set, not serving."""

    def __init__(self, folder: Path) -> None:
        data = folder.parent / "data"
        data.mkdir(exist_ok=True)
        settings = Settings(policies=folder, data=data, database_url=database_url(None, data))
        self.gateway = Gateway(settings, {}, access_log=False)

    @property
    def policy(self) -> Policy:
        """The policy of the folder."""
        return self.gateway.loaded.rulebook.policy

    async def prepare(self) -> float:
        """Loads the documents and has everything embedded; gives the seconds that took."""
        begun = time.monotonic()
        report = await self.gateway.library.sync()
        if report.faults:
            raise Unavailable(f"the documents could not be loaded: {report.faults[0]}")
        await self.gateway.paths.lookups.tasks.prepare(lambda _tokens: None)
        return time.monotonic() - begun

    async def gathered(self, requests: Sequence[dict[str, Any]]) -> list[Gathered]:
        """Every request with its evidence."""
        calls = [labelled(request) for request in requests]
        collections = list(self.gateway.loaded.rulebook.knowledge.collections)
        return [one async for one in gather(calls, self.gateway.paths.lookups, collections, time.time())]

    async def latency(self, requests: Sequence[dict[str, Any]]) -> Latency:
        """How long deciding takes, each request once and with nothing of it remembered."""
        lookups, took = self.gateway.paths.lookups, []
        for request in requests:
            one = labelled(request)
            call, principal, now = one.call(), one.principal(), time.time()
            facts = Facts(now, utc_day(now), 0.0)
            begun = time.perf_counter()
            await decide_looking(self.policy, call, principal, facts, "dec_bench", lookups)
            took.append((time.perf_counter() - begun) * 1000)
        cuts = statistics.quantiles(took, n=100)
        return Latency(cuts[49], cuts[94], cuts[98])

    async def close(self) -> None:
        """Lets everything go."""
        await self.gateway.library.close()
        self.gateway.journal.close()
        await self.gateway.database.close()


def labelled(request: dict[str, Any]) -> LabelledCall:
    """A request of the data set as a labelled call."""
    team = READER if CLOSED in request["available_kbs"] else OUTSIDER
    return LabelledCall(request["messages"], request["label"], request.get("target"), team)


def with_weights(policy: Policy, weights: Weights) -> Policy:
    """The same policy under other weights."""
    return msgspec.structs.replace(policy, weights=weights)


def score(
    bench: Bench, requests: Sequence[dict[str, Any]], calls: Sequence[Gathered], division: int | None = None
) -> Score:
    """Fits on each half of the conversations and scores the other. division: another way of halving them."""
    given: list[tuple[str, str | None]] = [("direct", None)] * len(calls)
    violations = 0
    halves = _halves(calls, division)
    for half in (0, 1):
        known = [call for call, side in zip(calls, halves, strict=True) if side != half]
        policy = with_weights(bench.policy, fit_all(known).weights(bench.policy.weights))
        for number, call in enumerate(calls):
            if halves[number] == half:
                given[number] = _decided(policy, call)
                violations += not _permitted(bench, call, given[number])
    return _scored(requests, calls, given, violations)


def _halves(calls: Sequence[Gathered], division: int | None) -> list[int]:
    """0 or 1 for each call, the same for all calls of one conversation."""
    if division is None:
        return [call.group % 2 for call in calls]
    chance = random.Random(division)  # reproducible, and no secret
    side = {group: chance.randrange(2) for group in sorted({call.group for call in calls})}
    return [side[call.group] for call in calls]


def _decided(policy: Policy, call: Gathered) -> tuple[str, str | None]:
    seen = policy.seen(call.labelled.call(), call.labelled.principal(), call.facts)
    found = decide_seen(policy, seen, "dec_bench", call.labelled.principal())
    if not isinstance(found, Decision):
        raise TypeError("all evidence was gathered")
    arm = found.arm
    if arm.path == "rag":
        best = max((one for one in found.scores if one.kind == "knowledge"), key=lambda one: one.score)
        return "rag", best.of
    return arm.path, arm.line


def _permitted(bench: Bench, call: Gathered, given: tuple[str, str | None]) -> bool:
    """Whether nothing of a collection that the team may not read was weighed, found, or chosen."""
    readable = set(bench.gateway.library.readable(call.labelled.team))
    weighed = {name for _, signal in call.facts.knowledge for name, _ in signal.evidence or ()}
    found = {hit.collection for _, signal in call.facts.knowledge for hit in signal.hits}
    return weighed | found | ({given[1]} if given[0] == "rag" else set()) <= readable


def _scored(
    requests: Sequence[dict[str, Any]],
    calls: Sequence[Gathered],
    given: Sequence[tuple[str, str | None]],
    violations: int,
) -> Score:
    plain = [number for number, one in enumerate(requests) if one["label"] in {"fine_tuned", "rag", "plain"}]
    wanted = [calls[number].labelled.route for number in plain]
    got = [given[number][0] for number in plain]
    by_label = dict(f1_by_label(wanted, got, ROUTES))

    def right_target(numbers: Sequence[int]) -> float:
        chosen = [n for n in numbers if given[n][0] == calls[n].labelled.route != "direct"]
        return sum(given[n][1] == calls[n].labelled.target for n in chosen) / max(1, len(chosen))

    unanswerable = [n for n, one in enumerate(requests) if one["label"] == "rag_no_answer"]
    return Score(
        macro_f1=sum(by_label.values()) / len(by_label),
        accuracy=sum(w == g for w, g in zip(wanted, got, strict=True)) / len(plain),
        by_label=by_label,
        right_target=right_target(plain),
        right_target_unanswerable_too=right_target(range(len(calls))),
        violations=violations,
        scored=len(plain),
        no_answer_to_rag=sum(given[n][0] == "rag" for n in unanswerable) / max(1, len(unanswerable)),
        calls=[
            {"id": one["id"], "source": one["source"], "wanted": c.labelled.route, "given": g[0], "target": g[1]}
            for one, c, g in zip(requests, calls, given, strict=True)
        ],
    )


DIVISIONS = range(4)


class Measured(msgspec.Struct):
    """One way of comparing. others: macro-F1 of other divisions into halves; seconds: to load and embed everything."""

    score: Score
    others: list[float]
    latency: Latency
    seconds: float
    calls: list[Gathered]


async def measure(data: Path, embedder: Path | None) -> Measured:
    """One way of comparing, from the data set's files to its score."""
    requests = read_requests(data)
    bench = Bench(write_folder(data, embedder))
    try:
        seconds = await bench.prepare()
        latency = await bench.latency(requests)
        calls = await bench.gathered(requests)
        others = [score(bench, requests, calls, division).macro_f1 for division in DIVISIONS]
        return Measured(score(bench, requests, calls), others, latency, seconds, calls)
    finally:
        await bench.close()


def built_in(data: Path, embedder: Path) -> str:
    """The weights that come with the gateway, as the text of gateway/policy/signals.yaml: fitted on all requests."""
    calls = asyncio.run(measure(data, embedder)).calls
    before = load(read_texts(write_folder(data, None))).signals
    weights = fit_all(calls, is_portable=True).weights(before.weights())
    fitted = {"on": "2026-11-23", "calls": len(calls), "source": "routebench-dev"}
    return yaml.safe_dump(as_file(weights, before, fitted), sort_keys=False, width=110)
