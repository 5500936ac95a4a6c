"""Fits a policy's weights on labelled calls: `gateway policy fit`, and the bench that judges it.

A labelled call is a line of JSON: OpenAI's `messages`, the `label` that is right for it (`fine_tuned`, `rag` or
`direct`; `plain` is direct, what begins with `rag` is rag), its `target` (the line or collection; null for direct)
and the `team` that asks.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Container, Iterable, Sequence
from pathlib import Path

import msgspec

from gateway.core.call import Call, Inbound, Principal
from gateway.core.clock import utc_day
from gateway.core.errors import BadConfiguration, GatewayError
from gateway.core.facts import Facts, NeedsKnowledge, NeedsTasks
from gateway.paths.lookups import LookUps
from gateway.policy.fitting import Fitted, Labelled, fit
from gateway.policy.signals_file import SignalsFile
from gateway.policy.weights import (
    KNOWLEDGE_MEANING,
    KNOWLEDGE_WORDS,
    TASK_MEANING,
    TASK_WORDS,
    Weights,
)
from gateway.wire.route import read_call

ROUTES = ("fine_tuned", "rag", "direct")
MOST_FAULTS = 20
# Bare cosines mean another thing with another embedder; weights that are to travel leave them out.
BARE = frozenset({"system_prompt_meaning", "nearest_meaning", "focus_meaning", "turn_meaning", "talk_meaning"})


class LabelledCall(msgspec.Struct):
    """One line of the file."""

    messages: list[dict[str, object]]
    label: str
    target: str | None = None
    team: str = "default"
    model: str = "auto"
    response_format: dict[str, object] | None = None
    tools: list[dict[str, object]] = []

    @property
    def route(self) -> str:
        """`fine_tuned`, `rag` or `direct`."""
        return "direct" if self.label == "plain" else "rag" if self.label.startswith("rag") else self.label

    def call(self) -> Call:
        """The call as it would have come in. Raises InvalidRequest."""
        body: dict[str, object] = {"model": self.model, "messages": self.messages}
        if self.response_format:
            body["response_format"] = self.response_format
        if self.tools:
            body["tools"] = self.tools
        path = "/v1/chat/completions"
        return read_call(Inbound("POST", path, path.encode(), b"", (), msgspec.json.encode(body), "req_fit", 0.0))

    def principal(self) -> Principal:
        """Who asks."""
        return Principal(team=self.team, key_id="key_fit", key_name="fit")


class Gathered(msgspec.Struct):
    """A labelled call with its evidence. group: the same for calls that begin alike."""

    labelled: LabelledCall
    facts: Facts
    group: int


class Fits(msgspec.Struct):
    """The four models as they were fitted; None where there was nothing to fit on."""

    task_words: Fitted | None
    task_meaning: Fitted | None
    knowledge_words: Fitted | None
    knowledge_meaning: Fitted | None

    def weights(self, before: Weights) -> Weights:
        """A policy's weights with these in place of those of before."""
        return Weights(
            task_words=self.task_words.model if self.task_words else before.task_words,
            task_meaning=self.task_meaning.model if self.task_meaning else before.task_meaning,
            knowledge_words=self.knowledge_words.model if self.knowledge_words else before.knowledge_words,
            knowledge_meaning=self.knowledge_meaning.model if self.knowledge_meaning else before.knowledge_meaning,
        )


def read_labelled(path: Path) -> list[LabelledCall]:
    """The labelled calls of a JSONL file. Raises BadConfiguration naming the faulty lines."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as fault:
        raise BadConfiguration([f"{path}: cannot be read ({fault.strerror})."]) from None
    found, faults = [], []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            one = msgspec.json.decode(text, type=LabelledCall)
            one.call()
        except (msgspec.DecodeError, GatewayError, UnicodeDecodeError) as fault:
            faults.append(f"{path}:{number}:1: no labelled call: {fault}.")
            continue
        if one.route not in ROUTES:
            faults.append(f"{path}:{number}:1: label is {one.label!r}; it must be one of {', '.join(ROUTES)}.")
        elif one.route != "direct" and not one.target:
            faults.append(f"{path}:{number}:1: a call labelled {one.label} names its target.")
        else:
            found.append(one)
    if faults or not found:
        raise BadConfiguration(faults[:MOST_FAULTS] or [f"{path}: holds no labelled call."])
    return found


def unknown_targets(calls: Iterable[LabelledCall], lines: Container[str], collections: Container[str]) -> list[str]:
    """A fault for each target that nothing is measured for: its calls would teach the others to be wrong."""
    named = {(call.route, call.target) for call in calls}
    faults = []
    for route, target in sorted((route, target or "") for route, target in named if route != "direct"):
        if route == "fine_tuned" and target not in lines:
            faults.append(f"calls labelled fine_tuned name {target!r}; no rule of routing.yaml asks `task` about it.")
        elif route == "rag" and target not in collections:
            faults.append(f"calls labelled rag name {target!r}, which is no collection of knowledge.yaml.")
    return faults


async def gather(
    calls: Iterable[LabelledCall], lookups: LookUps, collections: Sequence[str], now: float
) -> AsyncIterator[Gathered]:
    """Each call with the evidence of all lines, and of all collections that its team may read."""
    asked = NeedsKnowledge(tuple(sorted(collections)))
    for labelled in calls:
        call, principal = labelled.call(), labelled.principal()
        facts = Facts(now, utc_day(now), 0.0)
        facts = await lookups.answered(NeedsTasks(), call, principal, facts)
        if asked.collections:
            facts = await lookups.answered(asked, call, principal, facts)
        yield Gathered(labelled, facts, _group(call))


def _group(call: Call) -> int:
    first = next((turn.text for turn in call.turns if turn.role == "user"), "")
    return int.from_bytes(hashlib.blake2b(first[:200].encode(errors="replace"), digest_size=6).digest(), "big")


def fit_all(calls: Sequence[Gathered], *, is_portable: bool = False) -> Fits:
    """The models of both signals, by words and, where an embedder took part, by meaning too.

    is_portable: without bare cosines, so that the weights may serve with another embedder.
    """
    tasks = [row for call in calls for row in _task_rows(call)]
    knowledge = [row for call in calls for row in _knowledge_rows(call)]
    has_tasks = any(signal.embedder for call in calls for signal in call.facts.tasks or ())
    has_knowledge = any(signal.embedder for call in calls for _, signal in call.facts.knowledge)
    drop = BARE if is_portable else frozenset()

    def fitted(rows: Sequence[Labelled], wanted: bool, *families: dict[str, str]) -> Fitted | None:  # noqa: FBT001
        if not wanted or len({row.is_right for row in rows}) < 2:
            return None
        return fit(rows, [name for family in families for name in family if name not in drop])

    return Fits(
        task_words=fitted(tasks, True, TASK_WORDS),
        task_meaning=fitted(tasks, has_tasks, TASK_WORDS, TASK_MEANING),
        knowledge_words=fitted(knowledge, True, KNOWLEDGE_WORDS),
        knowledge_meaning=fitted(knowledge, has_knowledge, KNOWLEDGE_WORDS, KNOWLEDGE_MEANING),
    )


def _task_rows(call: Gathered) -> Iterable[Labelled]:
    labelled = call.labelled
    for signal in call.facts.tasks or ():
        right = labelled.route == "fine_tuned" and labelled.target == signal.line
        yield Labelled(signal.evidence or (), right, call.group)


def _knowledge_rows(call: Gathered) -> Iterable[Labelled]:
    labelled = call.labelled
    for _, signal in call.facts.knowledge:
        for collection, evidence in signal.evidence or ():
            right = labelled.route == "rag" and labelled.target == collection
            yield Labelled(evidence, right, call.group)


def routed(call: Gathered, weights: Weights, limit: float = 0.5) -> tuple[str, str | None]:
    """Where these weights send a call and to which line or collection: task first, then knowledge, then direct."""
    tasks = [
        (weights.of_task(signal.embedder).score(signal.evidence or ()), signal.line)
        for signal in call.facts.tasks or ()
    ]
    if tasks and max(tasks)[0] > limit:
        return "fine_tuned", max(tasks)[1]
    held = [
        (weights.of_knowledge(signal.embedder).score(evidence), collection)
        for _, signal in call.facts.knowledge
        for collection, evidence in signal.evidence or ()
    ]
    if held and max(held)[0] > limit:
        return "rag", max(held)[1]
    return "direct", None


def cross_validated(
    calls: Sequence[Gathered], before: Weights, *, is_portable: bool = False, told: Callable[[int], None] | None = None
) -> list[tuple[str, str | None]]:
    """Where each call goes by weights that were fitted without its fold: what to expect of calls to come."""
    given: list[tuple[str, str | None]] = [("direct", None)] * len(calls)
    for fold in range(5):
        weights = fit_all([call for call in calls if call.group % 5 != fold], is_portable=is_portable).weights(before)
        for number, call in enumerate(calls):
            if call.group % 5 == fold:
                given[number] = routed(call, weights)
        if told is not None:
            told(fold + 1)
    return given


def as_file(weights: Weights, file: SignalsFile, fitted: dict[str, object]) -> dict[str, object]:
    """signals.yaml as plain values: these weights, the file's own embedder, and what they were fitted on."""

    def entry(model: str) -> dict[str, object]:
        linear = getattr(weights, model)
        return {"intercept": linear.intercept, "weights": dict(linear.weights)}

    told: dict[str, object] = {"embedder": file.embedder} if file.embedder else {}
    return {
        **told,
        "task": {"words": entry("task_words"), "meaning": entry("task_meaning")},
        "knowledge": {"words": entry("knowledge_words"), "meaning": entry("knowledge_meaning")},
        "fitted": fitted,
    }
