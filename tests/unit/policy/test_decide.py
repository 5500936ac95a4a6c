from itertools import product
from pathlib import Path

import pytest

from gateway.core.decision import Decision, Step
from gateway.core.errors import ModelNotFound
from gateway.core.facts import Needs, NeedsKnowledge
from gateway.policy.decide import Policy, decide
from gateway.policy.explain import explain_entry
from gateway.policy.load import load, read_texts
from gateway.policy.written_call import CallEntry
from tests.fakes.calls import SUPPORT, chat, facts, read
from tests.fakes.rulebook import rule, rulebook

RULES = """
rules:
  - name: tuned
    when: {metadata: {task: tone}}
    use:
      path: fine_tuned
      line: tone
      fallback: [{path: rag, collections: [help-centre], model: small}, {path: fine_tuned, line: tone}]
  - name: known
    when: {knowledge: {collections: [help-centre], score_over: 0.5}, model: [auto]}
    use: {path: rag, collections: [help-centre], model: small}
  - name: shared
    when: {model: shared}
    use: {path: direct, targets: [{model: small, weight: 1}, {model: house, weight: 3}]}
  - {name: guests, when: {team: guests}, refuse: Guests may look.}
  - {name: auto, when: {model: auto}, use: {path: direct, model: small}}
  - {name: rest, use: {path: direct}}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return rulebook(RULES).policy


def decision(found: Decision | Needs) -> Decision:
    assert isinstance(found, Decision)
    return found


def test_the_first_rule_that_holds_decides(policy: Policy) -> None:
    found = decision(decide(policy, chat(model="auto", metadata={"task": "tone"}), SUPPORT, facts(), "dec_1"))
    assert (found.rule, found.arm.line, found.policy_hash) == ("tuned", "tone", policy.hash)
    rest = decision(decide(policy, chat(model="house"), SUPPORT, facts(), "dec_1"))
    assert (rest.rule, rest.arm.model) == ("rest", "big-7b")


def test_a_fallback_that_is_the_chosen_way_is_not_tried_twice(policy: Policy) -> None:
    found = decision(decide(policy, chat(model="auto", metadata={"task": "tone"}), SUPPORT, facts(), "dec_1"))
    assert [arm.path for arm in found.arms] == ["fine_tuned", "rag"]


def test_a_plain_condition_settles_a_rule_before_a_look_up(policy: Policy) -> None:
    """A look-up costs milliseconds; `model: [auto]` stands after it in the file and is asked first."""
    assert decision(decide(policy, chat(model="small"), SUPPORT, facts(), "dec_1")).rule == "rest"
    assert decide(policy, chat(model="auto"), SUPPORT, facts(), "dec_1") == NeedsKnowledge(("help-centre",))
    assert decision(decide(policy, chat(model="auto"), SUPPORT, facts(help_centre=0.9), "dec_1")).rule == "known"
    assert decision(decide(policy, chat(model="auto"), SUPPORT, facts(help_centre=0.1), "dec_1")).rule == "auto"


def test_a_refusal_is_a_decision_with_a_reason() -> None:
    found = decision(decide(rule("team: support").policy, chat(), SUPPORT, facts(), "dec_1"))
    assert (found.rule, found.arms, found.refusal) == ("asked", (), "held")


@pytest.mark.parametrize(("draw", "model"), [(0.0, "small"), (0.249, "small"), (0.25, "big-7b"), (0.999999, "big-7b")])
def test_weights_are_shares_of_their_sum(policy: Policy, draw: float, model: str) -> None:
    assert decision(decide(policy, chat(model="shared"), SUPPORT, facts(draw), "dec_1")).arm.model == model


def test_a_path_is_only_gone_where_its_endpoint_has_it() -> None:
    """A rule for RAG holds for chat; an embedding call must not end in it."""
    policy = rulebook(
        "rules: [{name: all, when: {team: support}, use: {path: rag, collections: [help-centre], "
        "model: small}}, {name: rest, use: {path: direct}}]"
    ).policy
    assert decision(decide(policy, chat(), SUPPORT, facts(), "dec_1")).rule == "all"
    embedding = read({"model": "small", "input": "x"}, "/v1/embeddings")
    assert decision(decide(policy, embedding, SUPPORT, facts(), "dec_1")).rule == "rest"


def test_a_passed_on_call_goes_to_the_upstream_of_its_model(policy: Policy) -> None:
    image = read({"model": "house", "prompt": "a cat"}, "/v1/images/generations")
    arm = decision(decide(policy, image, SUPPORT, facts(), "dec_1")).arm
    assert (arm.path, arm.upstream, arm.model) == ("passthrough", "lab", "big-7b")
    files = read(b"", "/v1/files")
    arm = decision(decide(policy, files, SUPPORT, facts(), "dec_1")).arm
    assert (arm.path, arm.upstream, arm.model) == ("passthrough", "main", "")


def test_a_passed_on_call_may_not_reach_a_secret_collection(policy: Policy) -> None:
    with pytest.raises(ModelNotFound):
        decide(policy, read({"model": "kb/board-minutes"}, "/v1/batches"), SUPPORT, facts(), "dec_1")


def test_the_same_call_and_facts_give_the_same_decision(policy: Policy) -> None:
    """A replay of last month is exact: nothing is looked at beside the two."""
    for model, task, score in product(["auto", "small", "shared"], ["tone", ""], [0.1, 0.9]):
        call, known = chat(model=model, metadata={"task": task}), facts(0.3, help_centre=score)
        first = decide(policy, call, SUPPORT, known, "dec_1")
        assert decide(rulebook(RULES).policy, call, SUPPORT, known, "dec_1") == first


def test_the_trace_says_why_each_rule_before_it_did_not_hold(policy: Policy) -> None:
    call, known = chat(model="auto"), facts(help_centre=0.1)
    found = decision(decide(policy, call, SUPPORT, known, "dec_1"))
    assert policy.steps(found.trace, policy.seen(call, SUPPORT, known)) == (
        Step("tuned", "metadata"),
        Step("known", "knowledge"),
        Step("shared", "model"),
        Step("guests", "team"),
        Step("auto"),
    )


@pytest.mark.parametrize("endpoint", ["completions", "embeddings"])
def test_a_collection_answers_no_endpoint_that_takes_no_sources(endpoint: str) -> None:
    """An answer without sources under a collection's name would be a lie."""
    policy = load(read_texts(Path(__file__).parents[3] / "policies")).policy
    entry = CallEntry.model_validate({"team": "support", "model": "kb/help-centre", "endpoint": endpoint, "text": "Hi"})
    with pytest.raises(ModelNotFound, match="serves chat, responses"):
        explain_entry(policy, entry, 0.0)
