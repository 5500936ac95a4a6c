import pytest

from gateway.core.errors import BadConfiguration
from gateway.policy.signals_file import BUILT_IN
from tests.fakes.rulebook import KNOWLEDGE, rulebook, texts

EMBEDDERS = KNOWLEDGE + "embedders: {small: {upstream: main, model: m}}\n"
FILE = """
task: {words: WORDS, meaning: {intercept: -1, weights: {}}}
knowledge: {words: {intercept: -1, weights: {turn_confidence: 2}}, meaning: {intercept: -1, weights: {}}}
"""


def file(words: str = "{intercept: -1, weights: {nearest_words: 2}}", more: str = "") -> str:
    return FILE.replace("WORDS", words) + more


def test_without_the_file_the_weights_that_come_with_the_gateway_hold() -> None:
    built_in = rulebook(signals=BUILT_IN.read_text()).policy.weights
    assert rulebook().policy.weights == built_in
    assert rulebook(signals="").policy.weights == built_in


def test_weights_of_the_file_hold_in_place_of_ours() -> None:
    weights = rulebook(signals=file()).policy.weights
    assert dict(weights.task_words.weights) == {"nearest_words": 2.0}
    assert weights.task_words.intercept == -1.0
    assert dict(weights.knowledge_words.weights) == {"turn_confidence": 2.0}


def test_the_weights_are_part_of_what_names_a_policy() -> None:
    assert texts(signals=file()).hash != texts(signals=file("{intercept: -1, weights: {nearest_words: 3}}")).hash


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("{intercept: -1, weights: {likeness: 1}}", "'likeness' is no evidence; there are same_system_prompt"),
        ("{intercept: -1, weights: {nearest_meaning: 1}}", "'nearest_meaning' is no evidence"),
        ("{intercept: -1, weights: {turn_confidence: 1}}", "'turn_confidence' is no evidence"),
        ("{intercept: -1, weights: {nearest_words: .nan}}", "nearest_words is nan"),
        ("{intercept: -1, weights: {nearest_words: .inf}}", "nearest_words is inf"),
        ("{intercept: -1, weights: {nearest_words: 1e300}}", "nearest_words is '1e300'"),
        ("{weights: {}}", "'intercept' is missing"),
        ("{intercept: much, weights: {}}", "intercept is 'much'"),
    ],
)
def test_each_fault_of_the_weights_is_named_at_its_place(words: str, fault: str) -> None:
    with pytest.raises(BadConfiguration, match=r"policies/signals\.yaml:2:\d+: ") as caught:
        rulebook(signals=file(words))
    assert any(fault in told for told in caught.value.faults), caught.value.faults


def test_an_embedder_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match=r"signals\.yaml:4:1: embedder 'small' is not in knowledge\.yaml"):
        rulebook(signals=file(more="embedder: small\n"))
    assert rulebook(knowledge=EMBEDDERS, signals=file(more="embedder: small\n")).signals.embedder == "small"


def test_what_the_weights_were_fitted_on_may_stand_beside_them() -> None:
    more = "fitted: {on: 2026-11-23, calls: 600, source: calls.jsonl, macro_f1: {cross_validated: 0.95}}\n"
    with pytest.raises(BadConfiguration, match="on"):
        rulebook(signals=file(more=more))
    quoted = rulebook(signals=file(more=more.replace("2026-11-23", "'2026-11-23'"))).signals.fitted
    assert quoted is not None
    assert quoted.calls == 600
