"""A line's canary in a decision."""

from typing import Any

import pytest

from gateway.core.call import Principal
from gateway.core.decision import Decision
from gateway.core.errors import ModelNotFound
from gateway.policy.decide import Policy, decide, decide_seen
from gateway.policy.explain import run_tests
from tests.fakes.calls import SUPPORT, chat, facts, read
from tests.fakes.rulebook import MODELS, rulebook


def policy(canary: float, routing: str = "rules: [{name: all, use: {path: direct}}]") -> Policy:
    return rulebook(routing, MODELS.replace("    challenger: 1\n", f"    challenger: 1\n    canary: {canary}\n")).policy


def decided(of: Policy, model: str = "tone", draw: float = 0.5, **body: Any) -> Decision:
    found = decide(of, chat(model=model, **body), SUPPORT, facts(draw=draw), "dec_1")
    assert isinstance(found, Decision)
    return found


def share(of: Policy, **body: Any) -> float:
    found = [decided(of, draw=number / 997, **body).arms[0].version for number in range(997)]
    return found.count(1) / len(found)


def test_calls_are_shared_out_as_the_line_says() -> None:
    assert share(policy(0)) == 0
    assert share(policy(1)) == 1
    # So far off by chance once in a million policies.
    assert 0.23 < share(policy(0.3)) < 0.37


def test_a_user_is_drawn_once_and_a_greater_share_keeps_who_was_in() -> None:
    small, large = policy(0.2), policy(0.6)
    users = [f"user-{number}" for number in range(200)]
    before = {user for user in users if decided(small, user=user).arms[0].version == 1}
    after = {user for user in users if decided(large, draw=0.9, user=user).arms[0].version == 1}
    assert before < after
    assert 20 < len(before) < 60


def test_a_conversation_with_an_id_is_drawn_once_whoever_writes() -> None:
    def version(conversation: str, draw: float, user: str) -> int | None:
        call = read({"model": "tone", "input": "Hi", "conversation": conversation, "user": user}, "/v1/responses")
        found = decide(policy(0.5), call, SUPPORT, facts(draw=draw), "dec_1")
        assert isinstance(found, Decision)
        return found.arms[0].version

    for number in range(30):
        name = f"conv_{number}"
        assert version(name, 0.1, "one") == version(name, 0.9, "other")


@pytest.mark.parametrize("model", ["tone@v2", "tone@v1", "tone@challenger", "ft:base:acme:tone:2"])
def test_who_names_a_version_gets_it(model: str) -> None:
    found = decided(policy(1), model)
    assert found.trial is None
    assert len(found.arms) == 1


def test_the_champion_stands_behind_its_challenger_and_before_the_rules_fallbacks() -> None:
    routing = "rules: [{name: a, use: {path: fine_tuned, line: tone, fallback: [{path: direct, model: small}]}}]"
    found = decided(policy(1, routing), "auto")
    assert [(arm.model, arm.is_canary) for arm in found.arms] == [
        ("ft:base:acme:tone:1", True), ("ft:base:acme:tone:2", False), ("small", False),
    ]  # fmt: skip
    left = decided(policy(0.0001, routing), "auto")
    assert [arm.model for arm in left.arms] == ["ft:base:acme:tone:2", "small"]
    assert [arm.model for arm in left.others] == ["ft:base:acme:tone:1"]


def test_answers_from_sources_are_a_part_of_it_too() -> None:
    routing = "rules: [{name: a, use: {path: rag, collections: [help-centre], model: tone, on_no_match: abstain}}]"
    found = decided(policy(1, routing), "auto")
    assert [(arm.path, arm.version, arm.collections) for arm in found.arms] == [
        ("rag", 1, ("help-centre",)), ("rag", 2, ("help-centre",)),
    ]  # fmt: skip


def test_a_champion_has_its_lines_successor_with_it_and_what_is_on_trial_has_none() -> None:
    found = decided(policy(1))
    assert found.arms[0].successor is None
    successor = found.arms[1].successor
    assert successor is not None
    assert (successor.path, successor.model, successor.successor_of) == ("rag", "small", "tone")


def test_a_policys_own_tests_are_of_no_canary() -> None:
    """A trial that somebody begins must not make the policy one that fails."""
    routing = (
        "rules: [{name: a, use: {path: fine_tuned, line: tone, fallback: [{path: direct, model: small}]}}]\n"
        "tests: [{name: champion, call: {team: support, text: Hi}, expect: {model: 'ft:base:acme:tone:2'}}]"
    )
    assert run_tests(policy(1, routing), facts().now) == []


def test_another_team_has_the_same_canary() -> None:
    found = decide(policy(1), chat(model="tone"), Principal("sales", "key_2", "web"), facts(), "dec_1")
    assert isinstance(found, Decision)
    assert found.arms[0].version == 1


def test_an_older_version_of_its_own_line_can_succeed_a_line_and_has_nobody_behind_it() -> None:
    models = MODELS.replace(
        "    successor: {path: rag, collections: [help-centre], model: small}\n",
        "    successor: {path: fine_tuned, line: tone@v1}\n",
        1,
    )
    of = rulebook("rules: [{name: all, use: {path: direct}}]", models).policy
    arm = decided(of).arms[0]
    assert arm.successor is not None
    assert (arm.version, arm.successor.version, arm.successor.successor_of) == (2, 1, "tone")
    assert arm.successor.successor is None


@pytest.mark.parametrize(("model", "version"), [("tone@v1", 1), ("tone@v2", 2), ("tone@challenger", 1)])
def test_who_names_a_version_gets_it_where_a_rule_sends_to_its_line(model: str, version: int) -> None:
    of = policy(1, "rules: [{name: a, use: {path: fine_tuned, line: tone}}]")
    found = decided(of, model)
    assert ([arm.version for arm in found.arms], found.trial) == ([version], None)
    again = decide_seen(of, of.seen_again(found.names, found.features, facts(draw=0.5), found.draw), "dec_1")
    assert again == found


def test_a_rule_that_says_which_version_says_it_to_all() -> None:
    of = policy(0, "rules: [{name: a, use: {path: fine_tuned, line: tone@v1}}]")
    assert [decided(of, model).arms[0].version for model in ("auto", "tone@v2", "lonely@v1")] == [1, 1, 1]
    other = policy(0, "rules: [{name: a, use: {path: fine_tuned, line: tone}}]")
    assert decided(other, "lonely@v1").arms[0].line == "tone"


def test_a_version_that_is_none_is_not_answered_by_another() -> None:
    of = policy(0, "rules: [{name: a, use: {path: fine_tuned, line: tone}}]")
    with pytest.raises(ModelNotFound):
        decided(of, "tone@v9")
