"""Which rules take each other's calls: told only where it is sure, and checked against calls themselves."""

import random
from itertools import product

import pytest

from gateway.core.call import Principal
from gateway.core.facts import Facts
from gateway.policy.overlap import covers, excludes, group_of, is_empty
from gateway.policy.routing_file import When
from tests.fakes.calls import chat, facts
from tests.fakes.rulebook import rule

TOOLS = [{"type": "function", "function": {"name": "f"}}]


def when(written: dict[str, object]) -> When:
    made: When = When.model_validate(written)
    return made


def covered(wide: dict[str, object], narrow: dict[str, object]) -> bool:
    return covers(group_of(when(wide)), group_of(when(narrow)))


def apart(one: dict[str, object], other: dict[str, object]) -> bool:
    groups = group_of(when(one)), group_of(when(other))
    assert excludes(*groups) == excludes(*reversed(groups))
    return excludes(*groups)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({"team": "a"}, {"team": "a", "model": "x"}),
        ({"team": ["a", "b"]}, {"team": "b"}),
        ({"model": "gpt-4*"}, {"model": ["gpt-4.1", "gpt-4o*"]}),
        ({"model": "*"}, {"team": "a"}),
        ({"prompt_tokens_over": 100}, {"prompt_tokens_over": 100}),
        ({"prompt_tokens_over": 100}, {"prompt_tokens_over": 200}),
        ({"shutdown_within": 60}, {"shutdown_within": 30}),
        ({"metadata": {"a": "1"}}, {"metadata": {"a": "1", "b": "2"}}),
        ({"header": {"X-A": "1"}}, {"header": {"x-a": "1", "x-b": "2"}}),
        ({"knowledge": {"collections": ["c"]}}, {"knowledge": {"collections": ["c"], "score_over": 0.9}}),
        ({"task": {"line": "t", "score_over": 0.2}}, {"task": {"line": "t", "score_over": 0.3}}),
        ({"time": {"from": "09:00", "to": "17:00"}}, {"time": {"from": "09:00", "to": "17:00"}, "team": "a"}),
        ({"any": [{"team": "a"}, {"model": "x"}]}, {"model": "x"}),
        ({"any": [{"team": "a"}, {"model": "x"}]}, {"any": [{"model": "x", "has_tools": True}, {"team": "a"}]}),
        ({"team": "a"}, {"any": [{"team": "a", "model": "x"}, {"all": [{"team": "a"}]}]}),
        ({"all": [{"team": ["a", "b"]}, {"model": "x"}]}, {"team": "a", "all": [{"model": "x"}]}),
        ({"not": {"team": "a"}}, {"team": "b"}),
        ({"not": {"team": "a"}}, {"not": {"team": ["a", "b"]}}),
        ({"not": {"team": "a", "model": "x"}}, {"not": {"team": "a"}}),
        ({"not": {"has_tools": True}}, {"has_tools": False}),
    ],
)
def test_what_holds_in_every_such_call_is_covered(wide: dict[str, object], narrow: dict[str, object]) -> None:
    assert covered(wide, narrow)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({"team": "a"}, {"model": "x"}),
        ({"team": "a"}, {"team": ["a", "b"]}),
        ({"model": "gpt-4"}, {"model": "gpt-4*"}),
        ({"prompt_tokens_over": 200}, {"prompt_tokens_over": 100}),
        ({"shutdown_within": 30}, {"shutdown_within": 60}),
        ({"text_matches": "a"}, {"text_matches": "ab"}),
        ({"knowledge": {"collections": ["c"]}}, {"knowledge": {"collections": ["c"], "score_over": 0.1}}),
        ({"knowledge": {"collections": ["c"]}}, {"knowledge": {"collections": ["c", "d"]}}),
        ({"task": {"line": "t"}}, {"task": {"line": "u"}}),
        ({"any": [{"team": "a"}]}, {"any": [{"team": "a"}, {"team": "b"}]}),
        ({"not": {"team": ["a", "b"]}}, {"not": {"team": "a"}}),
        ({"not": {"team": "a"}}, {"model": "x"}),
        ({"team": "a", "not": {"model": "x"}}, {"team": "a"}),
    ],
)
def test_what_may_not_hold_in_such_a_call_is_not_covered(wide: dict[str, object], narrow: dict[str, object]) -> None:
    assert not covered(wide, narrow)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"team": "a"}, {"team": ["b", "c"], "model": "x"}),
        ({"model": "gpt-4*"}, {"model": ["gpt-3", "claude*"]}),
        ({"has_tools": True}, {"has_tools": False}),
        ({"metadata": {"a": "1"}}, {"metadata": {"a": "2", "b": "1"}}),
        ({"header": {"X-A": "1"}}, {"header": {"x-a": "2"}}),
        ({"team": "a"}, {"any": [{"team": "b"}, {"team": "c"}]}),
        ({"team": "a"}, {"not": {"team": ["a", "b"]}}),
        ({"all": [{"team": "a"}, {"model": "x"}]}, {"all": [{"model": "y"}]}),
        ({"not": {"any": [{"team": "a"}, {"model": "x"}]}}, {"model": "x"}),
    ],
)
def test_rules_that_can_never_hold_together_are_told_apart(one: dict[str, object], other: dict[str, object]) -> None:
    assert apart(one, other)


def test_rules_that_may_hold_together_are_not() -> None:
    assert not apart({"team": "a"}, {"model": "x"})
    assert not apart({"model": "gpt-4*"}, {"model": "gpt-4.1*"})
    assert not apart({"team": "a"}, {"any": [{"team": "b"}, {"model": "x"}]})
    assert not apart({"task": {"line": "t"}}, {"task": {"line": "u"}})


def test_a_group_that_contradicts_itself_is_empty() -> None:
    assert is_empty(group_of(when({"team": "a", "all": [{"team": "b"}]})))
    assert is_empty(group_of(when({"has_tools": True, "any": [{"has_tools": False}, {"not": {"has_tools": True}}]})))
    assert not is_empty(group_of(when({"team": "a", "any": [{"team": "b"}, {"model": "x"}]})))


def written(chance: random.Random, depth: int) -> dict[str, object]:
    plain: dict[str, list[object]] = {
        "team": ["a", ["a", "b"], ["b", "c"]],
        "model": ["x", "x*", ["xy", "z"], "*"],
        "has_tools": [True, False],
        "turns_over": [0, 1],
    }
    found: dict[str, object] = {
        key: chance.choice(plain[key]) for key in chance.sample(sorted(plain), chance.randrange(1, 3))
    }
    if depth and chance.random() < 0.6:
        groups = [written(chance, depth - 1) for _ in range(chance.randrange(1, 3))]
        key = chance.choice(["all", "any", "not"])
        found[key] = groups[0] if key == "not" else groups
    return found


def test_what_is_said_of_two_rules_is_true_of_every_call() -> None:
    """Of random rules and all calls that their conditions can tell apart."""
    calls = [
        (chat(model=model, tools=TOOLS if tools else [], messages=[{"role": "user", "content": "Hi"}] * turns), team)
        for model, tools, turns, team in product(["x", "xy", "z", "q"], [True, False], [1, 2], ["a", "b", "c", "d"])
    ]
    chance = random.Random(7)
    told = {"covers": 0, "excludes": 0, "empty": 0}
    known: Facts = facts()
    for _ in range(250):
        one, other = (written(chance, 2) for _ in range(2))
        holds = []
        for group in (one, other):
            policy = rule(_flow(group)).policy
            principals = [(call, Principal(team=team, key_id="k", key_name="k")) for call, team in calls]
            holds.append(
                [all(p.check(policy.seen(*pair, known)) is True for p in policy.rules[0].parts) for pair in principals]
            )
        if covered(one, other):
            told["covers"] += 1
            assert all(wide or not narrow for wide, narrow in zip(*holds, strict=True)), (one, other)
        if apart(one, other):
            told["excludes"] += 1
            assert not any(left and right for left, right in zip(*holds, strict=True)), (one, other)
        if is_empty(group_of(when(one))):
            told["empty"] += 1
            assert not any(holds[0]), one
    assert min(told.values()) >= 3, told


def _flow(group: dict[str, object]) -> str:
    """The inside of a YAML flow mapping."""
    return repr(group)[1:-1].replace("True", "true").replace("False", "false")
