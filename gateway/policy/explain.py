"""Why a call goes where it goes: `decide` run again, in words."""

from datetime import UTC, datetime
from typing import cast

import msgspec

from gateway.core.call import Call, Endpoint, Inbound, Principal, Turn
from gateway.core.clock import utc_day
from gateway.core.decision import Decision, Facts, KnowledgeSignal, Names, NeedsKnowledge, Step, Trace
from gateway.core.errors import GatewayError
from gateway.core.ids import new_id
from gateway.policy.decide import Policy, decide
from gateway.policy.routing_file import CONDITIONS, CallEntry, TestEntry


def example_call(entry: CallEntry) -> tuple[Call, Principal]:
    """A call as a test or `policy explain` writes it, as if it had come in over HTTP."""
    headers = tuple((name.lower().encode(), value.encode()) for name, value in entry.headers.items())
    inbound = Inbound("POST", f"/v1/{entry.endpoint}", b"", b"", headers, b"", "req_example", 0.0)
    turns = (Turn("system", entry.system),) if entry.system else ()
    tokens = entry.prompt_tokens
    call = Call(
        inbound=inbound,
        endpoint=entry.endpoint,
        model=entry.model,
        stream=entry.stream,
        turns=(*turns, Turn("user", entry.text)),
        text=entry.text,
        has_tools=entry.has_tools,
        rag_ready=bool(entry.text),
        metadata=tuple(sorted(entry.metadata.items())),
        prompt_bytes=len(entry.text.encode()) + len(entry.system.encode()) if tokens is None else tokens * 4,
        asked_path=entry.path,
    )
    return call, Principal(team=entry.team, key_id="key_example", key_name=entry.key)


def example_facts(score: float | None, now: float, policy: Policy) -> Facts:
    """Facts for a written call: every collection asked about holds an answer of this score."""
    signal = KnowledgeSignal(score=score or 0.0)
    known = tuple((names, signal) for names in sorted(policy.asks_knowledge))
    return Facts(now=now, today=datetime.fromtimestamp(now, UTC).date(), draw=0.0, knowledge=known)


class Explained(msgspec.Struct, frozen=True):
    """A decision as people and `--json` read it."""

    decision: str
    rule: str
    path: str
    model: str | None
    upstream: str | None
    line: str | None
    version: int | None
    collections: list[str]
    fallbacks: list[str]
    refusal: str | None
    successor_of: str | None
    policy_hash: str
    steps: list[dict[str, object]]


def explain(policy: Policy, decision: Decision, call: Call, principal: Principal, facts: Facts) -> Explained:
    """The decision with every rule that was looked at and what its first failing condition saw."""
    steps: list[dict[str, object]] = []
    for step in policy.steps(decision.trace, call, principal, facts):
        told: dict[str, object] = {"rule": step.rule, "held": step.failed is None}
        if step.failed is not None:
            told["failed"] = step.failed
            told["saw"] = CONDITIONS[step.failed].observed(call, principal, facts)
        steps.append(told)
    arm = decision.arms[0] if decision.arms else None
    return Explained(
        decision=decision.id,
        rule=decision.rule,
        path=arm.path if arm else "refused",
        model=arm.model if arm else None,
        upstream=arm.upstream if arm else None,
        line=arm.line if arm else None,
        version=arm.version if arm else None,
        collections=list(arm.collections) if arm else [],
        fallbacks=[f"{other.path}:{other.model}" for other in decision.arms[1:]],
        refusal=decision.refusal,
        successor_of=decision.successor_of,
        policy_hash=decision.policy_hash,
        steps=steps,
    )


def recorded_steps(policy: Policy, trace: Trace, names: Names, at: float) -> tuple[Step, ...]:
    """A kept decision's rules in words, under the policy that made it."""
    headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in names.headers)
    call = Call(
        inbound=Inbound("POST", "", b"", b"", headers, b"", "", 0.0),
        endpoint=cast("Endpoint", names.endpoint),
        model=names.model,
        has_tools=names.has_tools,
        asked_path=names.asked_path,
        metadata=names.metadata,
    )
    principal = Principal(team=names.team, key_id="", key_name=names.key)
    return policy.steps(trace, call, principal, Facts(at, utc_day(at), 0.0))


def run_tests(policy: Policy, now: float) -> list[str]:
    """What the policy's own tests find wrong, a line each; none when all hold."""
    failures = []
    for test in policy.tests:
        call, principal = example_call(test.call)
        facts = example_facts(test.call.knowledge_score, now, policy)
        try:
            decision = decide(policy, call, principal, facts, "dec_test")
        except GatewayError as fault:
            failures.append(f"test {test.name!r}: {fault.message}")
            continue
        if isinstance(decision, NeedsKnowledge):
            failures.append(f"test {test.name!r}: {decision.collections} has no score; set knowledge_score.")
            continue
        failures += [f"test {test.name!r}: {what}" for what in _differences(test, decision)]
    return failures


def _differences(test: TestEntry, decision: Decision) -> list[str]:
    arm = decision.arms[0] if decision.arms else None
    got = {
        "rule": decision.rule,
        "path": arm.path if arm else "refused",
        "model": arm.model if arm else None,
        "line": arm.line if arm else None,
    }
    wanted = test.expect.model_dump(exclude_none=True)
    return [f"{key} is {got[key]!r}, expected {value!r}" for key, value in wanted.items() if got[key] != value]


def explain_entry(policy: Policy, entry: CallEntry, now: float) -> Explained:
    """Where a written call would go, and why. Raises ModelNotFound when its rule names nothing that exists."""
    call, principal = example_call(entry)
    facts = example_facts(entry.knowledge_score, now, policy)
    decision = decide(policy, call, principal, facts, new_id("dec"))
    if isinstance(decision, NeedsKnowledge):
        raise TypeError("every collection that a rule asks about has a score")
    return explain(policy, decision, call, principal, facts)
