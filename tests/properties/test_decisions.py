"""Decisions are pure: whatever the rules, reading them one by one and deciding again from the record say the same."""

import json
import random
from typing import Any

import msgspec
import pytest

from gateway.core.call import Call, Principal
from gateway.core.clock import utc_day
from gateway.core.decision import Decision
from gateway.core.errors import ModelNotFound
from gateway.core.facts import Facts, KnowledgeSignal, NeedsKnowledge, TaskSignal
from gateway.explained import explain_record, replay
from gateway.ledger.records import DecisionRecord, Final, frame, read_frames, record_of
from gateway.policy.decide import Policy, decide
from gateway.policy.explain import explain
from gateway.policy.weights import KNOWLEDGE_MEANING, KNOWLEDGE_WORDS, TASK_MEANING, TASK_WORDS
from tests.fakes.calls import HELLO, chat, closed, read
from tests.fakes.rulebook import MODELS, rulebook

WHENS = (
    *("team: [support]", "team: [sales, legal]", "key: [web]", "model: [auto]", "model: ['gpt-4*']"),
    *("endpoint: [chat]", "has_tools: true", "metadata: {task: tone}", "text_matches: refund"),
    *("prompt_tokens_over: 25", "asked_path: [rag]", "header: {x-channel: email}", "text_matches: '^H'"),
    *("characters_over: 50", "turns_over: 1", "has_image: true", "response_format: json_object"),
    *("language: [en, de]", "budget_used_over: 0.5", "shutdown_within: 90", "time: {from: '09:00', to: '17:30'}"),
    *("knowledge: {collections: [help-centre], score_over: 0.5}", "task: {line: tone, score_over: 0.5}"),
)
USES = (
    "{path: direct, model: small}",
    "{path: direct, model: small, fallback: [{path: direct, model: house}]}",
    "{path: rag, collections: [help-centre], model: small}",
    "{path: fine_tuned, line: tone, fallback: [{path: rag, collections: [help-centre], model: small}]}",
    "{path: direct, targets: [{model: small, weight: 1}, {model: house, weight: 3}], sticky: conversation}",
    "{path: direct, targets: [{model: small}, {model: house}], sticky: metadata.task}",
    "{path: fine_tuned, line: tone, canary: {line: tone@challenger, share: 0.3}}",
    "{path: fine_tuned, line: tone}",
    "{path: direct}",
    "{path: direct, model: small, shadow: {path: direct, model: house, share: 0.4, monthly_budget_usd: 5}}",
)


def group(chance: random.Random, depth: int) -> str:
    when = {one.partition(":")[0]: one for one in chance.sample(WHENS, chance.randrange(1, 4))}
    parts = list(when.values())
    if depth and chance.random() < 0.5:
        parts.append(f"any: [{{{group(chance, depth - 1)}}}, {{{group(chance, depth - 1)}}}]")
    if depth and chance.random() < 0.4:
        parts.append(f"not: {{{group(chance, depth - 1)}}}")
    if depth and chance.random() < 0.2:
        parts.append(f"all: [{{{group(chance, 0)}}}, {{{group(chance, 0)}}}]")
    return ", ".join(parts)


def written(chance: random.Random) -> Policy:
    rules = []
    for number in range(chance.randrange(1, 20)):
        act = "refuse: not here" if chance.random() < 0.1 else f"use: {chance.choice(USES)}"
        rules.append(f"{{name: r{number}, when: {{{group(chance, 2)}}}, {act}}}")
    models = MODELS.replace(
        "    challenger: 1\n", f"    challenger: 1\n    canary: {chance.choice([0, 0.2, 0.7, 1])}\n"
    )
    last = f"{{name: last, use: {chance.choice(['{path: direct, model: small}', '{path: direct, model: tone}'])}}}"
    return rulebook(f"rules: [{', '.join(rules)}, {last}]", models).policy


def some_call(chance: random.Random) -> tuple[Call, Principal]:
    principal = Principal(chance.choice(["support", "sales", "hr"]), "key_1", chance.choice(["web", "batch"]))
    model = chance.choice(["auto", "gpt-4.1-mini", "small", "tone", "tone@champion", "tone@v1", "kb/help-centre"])
    text = chance.choice(["a refund please", "Hi", "x" * 200, "Wie lange dauert eine Rückerstattung?", "👋 half"])
    if chance.random() < 0.2:
        return read({"model": "small", "input": text}, "/v1/embeddings"), principal
    more: dict[str, Any] = {"metadata": {"task": chance.choice(["tone", "other"])}}
    if chance.random() < 0.3:
        more["tools"] = [{"type": "function"}]
    if chance.random() < 0.3:
        more["response_format"] = {"type": chance.choice(["json_object", "grammar"])}
    if chance.random() < 0.4:
        more["user"] = f"somebody-{chance.randrange(10**6)}"
    earlier = [{"role": "user", "content": "before"}, {"role": "assistant", "content": "yes"}]
    messages = [*(earlier if chance.random() < 0.3 else []), {"role": "user", "content": text}]
    headers = tuple(chance.sample([(b"x-channel", b"email"), (b"x-gateway-path", b"rag")], chance.randrange(3)))
    body = HELLO | {"model": model, "messages": messages, **more}
    return (read(body, headers=headers) if headers else chat(**body)), principal


def some_facts(chance: random.Random) -> Facts:
    """Facts with every signal that a rule may ask for, as evidence and not as a given score."""

    def numbers(*families: dict[str, str]) -> tuple[tuple[str, float], ...]:
        return tuple((name, chance.uniform(-1, 1)) for family in families for name in family)

    by = chance.choice(["", "local:1"])
    knowledge = numbers(KNOWLEDGE_WORDS, KNOWLEDGE_MEANING) if by else numbers(KNOWLEDGE_WORDS)
    task = numbers(TASK_WORDS, TASK_MEANING) if by else numbers(TASK_WORDS)
    now = chance.uniform(1.79e9, 1.8e9)
    return Facts(
        now=now,
        today=utc_day(now),
        draw=chance.random(),
        budget_used=chance.choice([None, 0.2, 0.9]),
        knowledge=((("help-centre",), KnowledgeSignal(0.4, (), "7", (("help-centre", knowledge),), by)),),
        tasks=(TaskSignal("tone", 0.0, task, by),),
    )


def decision_of(policy: Policy, call: Call, principal: Principal, known: Facts) -> Decision | None:
    """None for a rule whose model the endpoint does not serve: that is a 404 and no decision."""
    try:
        found = decide(policy, call, principal, known, "dec_1")
    except ModelNotFound:
        return None
    assert isinstance(found, Decision)
    return found


def one_by_one(policy: Policy, call: Call, principal: Principal, known: Facts) -> str:
    """The first rule whose every check holds."""
    seen = policy.seen(call, principal, known)
    for rule in policy.rules:
        if all(part.check(seen) is True for part in rule.parts):
            return rule.name
    raise AssertionError("the last rule holds for every call")


def kept(record: DecisionRecord) -> DecisionRecord:
    """The record after its way through the journal, and through the database's JSON."""
    framed = next(read_frames(frame(Final(closed(), record))))[0]
    assert isinstance(framed, Final)
    assert framed.decision is not None
    text = msgspec.json.encode(framed.decision).decode()
    return msgspec.json.decode(json.dumps(json.loads(text)), type=DecisionRecord)


@pytest.mark.parametrize("seed", range(40))
def test_the_first_rule_that_holds_decides_with_or_without_a_shortlist(seed: int) -> None:
    chance = random.Random(seed)
    policy = written(chance)
    decided = 0
    for _ in range(60):
        call, principal = some_call(chance)
        known = some_facts(chance)
        found = decision_of(policy, call, principal, known)
        if found is None:
            continue
        decided += 1
        assert found.rule == one_by_one(policy, call, principal, known)
        seen = policy.seen(call, principal, known)
        steps = policy.steps(found.trace, seen)
        assert [step.rule for step in steps] == [rule.name for rule in policy.rules[: len(steps)]]
        assert [step.failed is None for step in steps] == [False] * (len(steps) - 1) + [True]
        for step, rule in zip(steps[:-1], policy.rules, strict=False):
            assert step.failed in [part.key for part in rule.parts if part.check(seen) is not True]
    assert decided > 30


@pytest.mark.parametrize("seed", range(60))
def test_a_recorded_call_explained_under_its_policy_gives_the_recorded_decision(seed: int) -> None:
    """Months later, without a word of the message: rule, arms, trace, refusal, draw, shadow and scores are the same."""
    chance = random.Random(seed)
    policy = written(chance)
    for _ in range(40):
        call, principal = some_call(chance)
        known = some_facts(chance)
        found = decision_of(policy, call, principal, known)
        if found is None:
            continue
        record = kept(record_of("call_1", principal, found, known, ()))
        again, seen = replay(policy, record)
        assert again == found
        assert explain_record(policy, record) == explain(policy, found, seen)
        told = msgspec.json.encode(record)
        assert not call.user or call.user.encode() not in told
        assert not call.text or len(call.text) < 5 or msgspec.json.encode(call.text)[1:-1] not in told


@pytest.mark.parametrize("seed", range(20))
def test_a_look_up_is_asked_for_only_when_a_rule_depends_on_it(seed: int) -> None:
    chance = random.Random(seed)
    policy = written(chance)
    for _ in range(40):
        call, principal = some_call(chance)
        without = msgspec.structs.replace(some_facts(chance), knowledge=())
        try:
            asked = decide(policy, call, principal, without, "dec_1")
        except ModelNotFound:
            continue
        if not isinstance(asked, NeedsKnowledge):
            continue
        low, high = (
            policy.seen(
                call,
                principal,
                msgspec.structs.replace(without, knowledge=((("help-centre",), KnowledgeSignal(score)),)),
            )
            for score in (0.0, 1.0)
        )
        # A rule that asks twice, once for and once against, may come out the same; then one of its parts does not.
        assert any(part.check(low) is not part.check(high) for rule in policy.rules for part in rule.parts)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_on_trial_is_first_or_nowhere_among_the_arms_and_its_champion_stands_behind_it(seed: int) -> None:
    chance = random.Random(seed)
    policy = written(chance)
    for _ in range(60):
        call, principal = some_call(chance)
        found = decision_of(policy, call, principal, some_facts(chance))
        if found is None or found.trial is None:
            assert found is None or not any(arm.is_canary for arm in found.arms)
            continue
        assert found.trial.is_drawn is found.arms[0].is_canary
        assert not any(arm.is_canary for arm in found.arms[1:])
        if found.trial.is_drawn:
            assert (found.arms[0].version, found.arms[1].version) == (1, 2)
            assert found.arms[1].line == "tone"
            assert found.arms[0].path == found.arms[1].path
