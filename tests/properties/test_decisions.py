"""The shortlist of rules is a matter of speed: it decides as reading the rules one after the other does."""

import random

import pytest

from gateway.core.call import Call, Principal
from gateway.core.decision import Decision, Facts, NeedsKnowledge
from gateway.policy.decide import Policy, decide
from tests.fakes.calls import HELLO, chat, facts, read
from tests.fakes.rulebook import rulebook

WHENS = (
    *(
        "team: [support]",
        "team: [sales, legal]",
        "key: [web]",
        "model: [auto]",
        "model: ['gpt-4*']",
        "endpoint: [chat]",
    ),
    *(
        "has_tools: true",
        "metadata: {task: tone}",
        "text_matches: refund",
        "prompt_tokens_over: 25",
        "asked_path: [rag]",
    ),
    *("header: {x-channel: email}", "knowledge: {collections: [help-centre], score_over: 0.5}"),
)


def written(chance: random.Random) -> Policy:
    rules = []
    for number in range(chance.randrange(1, 25)):
        when = {one.partition(":")[0]: one for one in chance.sample(WHENS, chance.randrange(1, 4))}
        use = (
            "{path: rag, collections: [help-centre], model: small}"
            if chance.random() < 0.2
            else "{path: direct, model: small}"
        )
        rules.append(f"{{name: r{number}, when: {{{', '.join(when.values())}}}, use: {use}}}")
    return rulebook(f"rules: [{', '.join(rules)}, {{name: last, use: {{path: direct, model: small}}}}]").policy


def some_call(chance: random.Random) -> tuple[Call, Principal]:
    principal = Principal(chance.choice(["support", "sales", "hr"]), "key_1", chance.choice(["web", "batch"]))
    model = chance.choice(["auto", "gpt-4.1-mini", "small"])
    text = chance.choice(["a refund please", "Hi", "x" * 200])
    if chance.random() < 0.2:
        return read({"model": model, "input": text}, "/v1/embeddings"), principal
    tools = {"tools": [{"type": "function"}]} if chance.random() < 0.3 else {}
    metadata = {"metadata": {"task": chance.choice(["tone", "other"])}}
    headers = tuple(chance.sample([(b"x-channel", b"email"), (b"x-gateway-path", b"rag")], chance.randrange(3)))
    body = HELLO | {"model": model, "messages": [{"role": "user", "content": text}], **tools, **metadata}
    return (read(body, headers=headers) if headers else chat(**body)), principal


def one_by_one(policy: Policy, call: Call, principal: Principal, known: Facts) -> str:
    """The first rule whose every check holds."""
    for rule in policy.rules:
        if all(check(call, principal, known) is True for check in rule.checks):
            return rule.name
    raise AssertionError("the last rule holds for every call")


@pytest.mark.parametrize("seed", range(40))
def test_the_first_rule_that_holds_decides_with_or_without_a_shortlist(seed: int) -> None:
    chance = random.Random(seed)
    policy = written(chance)
    for _ in range(60):
        call, principal = some_call(chance)
        known = facts(help_centre=chance.choice([0.2, 0.9]))
        found = decide(policy, call, principal, known, "dec_1")
        assert isinstance(found, Decision)
        assert found.rule == one_by_one(policy, call, principal, known)
        steps = policy.steps(found.trace, call, principal, known)
        assert [step.rule for step in steps] == [rule.name for rule in policy.rules[: len(steps)]]
        assert [step.failed is None for step in steps] == [False] * (len(steps) - 1) + [True]
        for step, rule in zip(steps[:-1], policy.rules, strict=False):
            failed = [
                key for key, check in zip(rule.keys, rule.checks, strict=True) if not check(call, principal, known)
            ]
            assert step.failed in failed


@pytest.mark.parametrize("seed", range(20))
def test_a_look_up_is_asked_for_only_when_a_rule_depends_on_it(seed: int) -> None:
    chance = random.Random(seed)
    policy = written(chance)
    for _ in range(40):
        call, principal = some_call(chance)
        if isinstance(decide(policy, call, principal, facts(), "dec_1"), NeedsKnowledge):
            low, high = facts(help_centre=0.0), facts(help_centre=1.0)
            depends = [
                rule
                for rule in policy.rules
                if "knowledge" in rule.keys
                and all(check(call, principal, high) for check in rule.checks)
                and not all(check(call, principal, low) for check in rule.checks)
            ]
            assert depends
