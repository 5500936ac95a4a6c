"""Why a call goes where it goes: `decide` run again, in words."""

from typing import Any

import msgspec

from gateway.core.decision import Arm, Decision, RagTerms, SignalScore, Trial
from gateway.core.errors import GatewayError
from gateway.policy.condition import Part
from gateway.policy.decide import AS_NAMED, Policy, decide_seen
from gateway.policy.example import example_call, example_facts
from gateway.policy.routing_file import CONDITIONS
from gateway.policy.seen import Seen
from gateway.policy.written_call import CallEntry, TestEntry


class Explained(msgspec.Struct, frozen=True):
    """A decision as people and `--json` read it. without_sources: what its rule says of answers from documents."""

    decision: str
    rule: str
    path: str
    model: str | None
    upstream: str | None
    line: str | None
    version: int | None
    collections: list[str]
    without_sources: list[str]
    fallbacks: list[str]
    shadow: str | None
    refusal: str | None
    successor_of: str | None
    policy_hash: str
    signals: tuple[SignalScore, ...]
    steps: list[dict[str, Any]]
    canary: str | None = None


def explain(policy: Policy, decision: Decision, seen: Seen) -> Explained:
    """The decision with every rule that was looked at, what its first failing condition saw, and all signals."""
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
        without_sources=terms_told(arm) if arm and arm.path == "rag" else [],
        fallbacks=[arm_name(other) for other in decision.arms[1:]],
        shadow=arm_name(decision.shadow.arm) if decision.shadow else None,
        refusal=decision.refusal,
        successor_of=decision.successor_of,
        policy_hash=decision.policy_hash,
        signals=decision.scores,
        steps=steps_told(policy, decision, seen),
        canary=None if decision.trial is None else trial_told(decision.trial),
    )


def explain_entry(policy: Policy, entry: CallEntry, now: float) -> Explained:
    """Where a written call would go, and why; signals that it does not give score 0.

    Raises ModelNotFound when its rule names nothing that exists.
    """
    call, principal = example_call(entry)
    seen = policy.seen(call, principal, example_facts(entry, now, policy))
    decision = decide_seen(policy, seen, "dec_explained", principal)
    if not isinstance(decision, Decision):
        raise TypeError("every signal that a rule asks about is given")
    return explain(policy, decision, seen)


def trial_told(trial: Trial) -> str:
    """What is on trial, and whether this call is a part of it."""
    answers = trial.challenger if trial.is_drawn else trial.champion
    told = f"{trial.line}@v{trial.challenger} has {trial.share:.1%} of the calls of v{trial.champion}"
    return f"{told}; this one came to {trial.drawn:.4f}, so v{answers} answers"


def arm_name(arm: Arm) -> str:
    """An arm in a word or two: `fine_tuned:support-tone@v2`, `rag:gpt-4.1-mini`."""
    return f"{arm.path}:{arm.line}@v{arm.version}" if arm.line else f"{arm.path}:{arm.model}"


def terms_told(arm: Arm) -> list[str]:
    """What becomes of a call on the path rag that finds nothing, cannot look, or gets an answer from elsewhere."""
    terms = arm.terms or RagTerms()
    answers = arm.on_no_match in {"abstain", "clarify"}
    told = [] if terms.match_over is None else [f"match_over: {terms.match_over:g}"]
    told += [f"on_no_match: {arm.on_no_match}" + (f" ({terms.no_match_reply})" if answers else "")]
    down = "error" if terms.store_down is None else f"fallback_model ({arm_name(terms.store_down)})"
    told.append(f"on_store_down: {down}")
    wanted = terms.grounding
    if wanted is not None:
        least = "" if wanted.least is None else f"least {wanted.least:g}, "
        told.append(f"grounding: {least}numbers {wanted.numbers}, {wanted.action}")
    if terms.judge is not None:
        told.append(f"judge: {arm_name(terms.judge)} for {terms.judge_share:.0%}")
    return told


def steps_told(policy: Policy, decision: Decision, seen: Seen) -> list[dict[str, Any]]:
    """Each rule up to the one that held: it held, or the first condition that did not and what that saw."""
    steps: list[dict[str, Any]] = []
    if decision.rule == AS_NAMED:
        return steps
    for number, step in enumerate(policy.steps(decision.trace, seen)):
        told: dict[str, Any] = {"rule": step.rule, "held": step.failed is None, "failed": step.failed}
        if step.failed is not None:
            part = next(part for part in policy.rules[number].parts if part.key == step.failed)
            told["saw"] = observed(part, seen)
        steps.append(told)
    return steps


def observed(part: Part, seen: Seen) -> object:
    """What a condition looked at; of a group of conditions, what each of its own did."""
    if part.groups:
        return [{inner.key: observed(inner, seen) for inner in group} for group in part.groups]
    return CONDITIONS[part.key].observed(seen)


def run_tests(policy: Policy, now: float) -> list[str]:
    """What the policy's own tests find wrong, a line each; none when all hold."""
    return [f"test {policy.tests[number].name!r}: {what}" for number, what in failing_tests(policy, now)]


def failing_tests(policy: Policy, now: float) -> list[tuple[int, str]]:
    """The same with the number of each test."""
    failures = []
    for number, test in enumerate(policy.tests):
        call, principal = example_call(test.call)
        seen = policy.seen(call, principal, example_facts(test.call, now, policy))
        # Whatever is on trial today, the policy's own tests are of what it says.
        seen.given_trial = 1.0
        try:
            decision = decide_seen(policy, seen, "dec_test", principal)
        except GatewayError as fault:
            failures.append((number, fault.message))
            continue
        if not isinstance(decision, Decision):
            raise TypeError("every signal that a rule asks about is given")
        failures += [(number, what) for what in _differences(test, decision)]
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
