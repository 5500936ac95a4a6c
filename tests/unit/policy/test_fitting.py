import math
import random

import pytest

from gateway.policy.fitting import PRIOR, STRENGTHS, Fitted, Labelled, f1_by_label, fit, macro_f1
from gateway.policy.weights import TASK_WORDS

NAMES = ["nearest_words", "more_turns", "different_tools"]


def row(*, right: bool, group: int, **evidence: float) -> Labelled:
    return Labelled(tuple(evidence.items()), right, group)


def separable(count: int = 200, seed: int = 1) -> list[Labelled]:
    """What is near is right; noise beside it."""
    chance = random.Random(seed)
    rows = []
    for group in range(count):
        right = group % 2 == 0
        near = chance.uniform(0.6, 1.0) if right else chance.uniform(0.0, 0.4)
        rows.append(row(right=right, group=group, nearest_words=near, ahead_words=chance.uniform(-1, 1)))
    return rows


def weights_of(fitted: Fitted) -> dict[str, float]:
    return dict(fitted.model.weights)


def test_what_can_be_told_apart_is_told_apart() -> None:
    fitted = fit(separable(), ["nearest_words", "ahead_words"])
    for one in separable(seed=2):
        assert (fitted.model.score(one.evidence) > 0.5) is one.is_right
    assert fitted.loss < 0.1
    assert fitted.strength in STRENGTHS
    found = weights_of(fitted)
    assert found["nearest_words"] > 10 * abs(found["ahead_words"])
    assert list(found) == ["nearest_words", "ahead_words"]


def test_a_weight_never_takes_the_sign_that_is_against_its_sense() -> None:
    """Calls in which everything is the wrong way round."""
    chance = random.Random(3)
    rows = []
    for group in range(200):
        right = group % 2 == 0
        rows.append(
            row(
                right=right,
                group=group,
                nearest_words=chance.uniform(0, 0.4) if right else chance.uniform(0.6, 1),
                more_turns=float(right),
                focus_words=chance.uniform(0.5, 1) if right else chance.uniform(0, 0.6),
            )
        )
    found = weights_of(fit(rows, ["nearest_words", "more_turns", "focus_words"]))
    assert found["nearest_words"] == 0
    assert found["more_turns"] == 0
    assert found["focus_words"] > 0


@pytest.mark.parametrize("seed", range(5))
def test_signs_hold_whatever_the_evidence(seed: int) -> None:
    chance = random.Random(seed)
    names = list(TASK_WORDS)
    rows = [
        row(right=chance.random() < 0.4, group=n, **{name: chance.gauss(0, 2) for name in names}) for n in range(80)
    ]
    for name, weight in weights_of(fit(rows, names)).items():
        assert weight <= 0 if name in {"more_turns", "different_format", "different_tools"} else weight >= 0
        assert math.isfinite(weight)


def test_evidence_that_never_varies_keeps_its_prior() -> None:
    rows = [
        row(right=one.is_right, group=one.group, **dict(one.evidence), different_tools=0.0, system_prompt_words=0.7)
        for one in separable()
    ]
    found = weights_of(fit(rows, ["nearest_words", "different_tools", "different_format", "system_prompt_words"]))
    assert found["different_tools"] == PRIOR["different_tools"]
    assert found["different_format"] == PRIOR["different_format"]
    assert found["system_prompt_words"] == 0


def test_how_common_an_answer_is_stands_in_the_intercept() -> None:
    rare = [row(right=n % 20 == 0, group=n, nearest_words=0.5) for n in range(400)]
    fitted = fit(rare, ["nearest_words"])
    assert fitted.model.score((("nearest_words", 0.5),)) == pytest.approx(0.05, abs=0.005)


def test_fitting_again_gives_the_same_to_the_last_digit() -> None:
    rows = separable()
    first = fit(rows, NAMES)
    assert fit(rows, NAMES) == first
    assert all(weight == round(weight, 4) for _, weight in first.model.weights)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_evidence_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no number"):
        fit([*separable(), row(right=True, group=9, nearest_words=value)], ["nearest_words"])


@pytest.mark.parametrize("right", [True, False])
def test_calls_of_one_kind_teach_nothing(*, right: bool) -> None:
    with pytest.raises(ValueError, match="both kinds"):
        fit([row(right=right, group=n, nearest_words=n / 10) for n in range(10)], ["nearest_words"])
    with pytest.raises(ValueError, match="both kinds"):
        fit([], ["nearest_words"])


def test_calls_of_one_conversation_are_judged_by_others_alone() -> None:
    """All in one fold: nothing is left to judge by, and the loss says so."""
    assert (
        fit([row(right=n % 2 == 0, group=5, nearest_words=n % 2) for n in range(20)], ["nearest_words"]).loss
        == math.inf
    )
    assert (
        fit([row(right=n % 2 == 0, group=n // 2, nearest_words=n % 2) for n in range(20)], ["nearest_words"]).loss < 1
    )


def test_two_calls_are_enough_to_fit_on() -> None:
    found = fit(
        [row(right=True, group=0, nearest_words=1.0), row(right=False, group=1, nearest_words=0.0)], ["nearest_words"]
    )
    assert weights_of(found)["nearest_words"] > 0


def test_f1_counts_each_label_alike() -> None:
    wanted, given = ["rag", "rag", "direct", "direct"], ["rag", "direct", "direct", "direct"]
    told = f1_by_label(wanted, given, ("rag", "direct", "fine_tuned"))
    assert told["rag"] == pytest.approx(2 / 3)
    assert told["direct"] == pytest.approx(0.8)
    assert told["fine_tuned"] == 0
    assert macro_f1(wanted, given, ("rag", "direct")) == pytest.approx((2 / 3 + 0.8) / 2)
