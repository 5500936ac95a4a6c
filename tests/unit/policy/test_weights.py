import math

import pytest

from gateway.policy.weights import Weights, linear

MODEL = linear(-1.0, {"a": 2.0, "b": -3.0})


def test_the_score_is_the_logistic_function_of_the_sum() -> None:
    assert MODEL.score((("a", 0.5), ("b", 0.0))) == 0.5
    assert MODEL.score((("a", 1.0), ("b", 1.0))) == pytest.approx(1 / (1 + math.exp(2)))


def test_evidence_that_is_missing_or_unnamed_counts_nothing() -> None:
    assert MODEL.score(()) == MODEL.score((("a", 0.0), ("c", 100.0)))


def test_a_score_stays_within_its_bounds_whatever_the_sum() -> None:
    for weight in (1e300, -1e300, 1e6, -1e6):
        assert 0 <= linear(0.0, {"a": weight}).score((("a", 1.0),)) <= 1


def test_contributions_add_up_to_what_the_score_is_made_of() -> None:
    evidence = (("b", 0.5), ("a", 0.25))
    told = MODEL.contributions(evidence)
    assert told == (("intercept", -1.0), ("a", 0.5), ("b", -1.5))
    assert MODEL.score(evidence) == pytest.approx(1 / (1 + math.exp(-sum(value for _, value in told))))


def test_the_model_is_the_one_for_who_took_part() -> None:
    words, meaning = linear(1.0, {}), linear(2.0, {})
    weights = Weights(task_words=words, task_meaning=meaning, knowledge_words=words, knowledge_meaning=meaning)
    assert (weights.of_task(""), weights.of_task("small")) == (words, meaning)
    assert (weights.of_knowledge(""), weights.of_knowledge("small")) == (words, meaning)
