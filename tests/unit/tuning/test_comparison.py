"""Paired comparison: intervals that hold what they say, verdicts by them, and no comparison across different sets."""

import random

import pytest

from gateway.tuning.comparison import Comparison, DifferentSets, compare

ITEMS = 120
TRIALS = 300


def scores(seed: int, effect: float, per_cluster: int = 4) -> tuple[dict[str, float], dict[str, float], dict[str, str]]:
    """Both models' scores. Items differ much, clusters somewhat; the candidate differs by `effect` and its noise."""
    draw = random.Random(seed)
    champion, candidate, clusters = {}, {}, {}
    for cluster in range(ITEMS // per_cluster):
        of_cluster = draw.gauss(0, 0.3)
        for number in range(per_cluster):
            item = f"{cluster}-{number}"
            clusters[item] = f"conversation {cluster}"
            champion[item] = draw.gauss(0, 5)
            candidate[item] = champion[item] + effect + of_cluster + draw.gauss(0, 0.2)
    return champion, candidate, clusters


def compared(seed: int, effect: float, margin: float = 0.0) -> Comparison:
    champion, candidate, clusters = scores(seed, effect)
    return compare(champion, candidate, clusters, margin, seed)


def test_nineteen_of_twenty_intervals_hold_the_true_difference() -> None:
    """95 %, less what a percentile bootstrap of 30 clusters is known to lack; 90 % is some five deviations away."""
    held = 0
    for seed in range(TRIALS):
        found = compared(seed, effect=0.1)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.1 <= found.high
    assert 0.90 * TRIALS <= held <= 0.985 * TRIALS, held


def test_clusters_taken_for_items_would_promise_too_much() -> None:
    """Why clusters are drawn: without them the interval of the same data is far too narrow."""
    champion, candidate, clusters = scores(1, 0.1)
    together, apart = compare(champion, candidate, clusters), compare(champion, candidate)
    assert together.high is not None
    assert together.low is not None
    assert apart.high is not None
    assert apart.low is not None
    assert together.high - together.low > 1.4 * (apart.high - apart.low)
    assert (together.n, together.clusters, apart.clusters) == (120, 30, 120)


@pytest.mark.parametrize(
    ("effect", "margin", "verdict"),
    [(0.5, 0.0, "better"), (-0.5, 0.1, "worse"), (-0.15, 0.5, "not_worse"), (-0.2, 1.0, "not_worse")],
)
def test_an_effect_that_is_there_is_found(effect: float, margin: float, verdict: str) -> None:
    found: list[str] = [compared(seed, effect, margin).verdict for seed in range(40)]
    assert found.count(verdict) >= 39, found


def test_models_alike_are_rarely_called_better_or_worse() -> None:
    found = [compared(seed, 0.0).verdict for seed in range(TRIALS)]
    assert found.count("better") <= 0.06 * TRIALS
    assert found.count("worse") <= 0.06 * TRIALS
    assert "inconclusive" in found


def test_the_same_arguments_give_the_same_comparison() -> None:
    assert compared(3, 0.1) == compared(3, 0.1)
    champion, candidate, clusters = scores(3, 0.1)
    backwards = dict(reversed(candidate.items()))
    assert compare(champion, backwards, clusters, 0.0, 3) == compared(3, 0.1)


def test_equal_scores_are_not_worse_and_too_few_say_nothing() -> None:
    same = {str(number): 1.0 for number in range(20)}
    assert compare(same, same).verdict == "not_worse"
    few = {str(number): 1.0 for number in range(5)}
    found = compare(few, dict.fromkeys(few, 0.0))
    assert (found.verdict, found.low, found.mean_difference) == ("inconclusive", None, -1.0)


def test_different_sets_are_refused() -> None:
    with pytest.raises(DifferentSets, match="not the same frozen set: 1 items have only the champion's score, 2 only"):
        compare({"a": 1.0, "b": 1.0}, {"b": 1.0, "c": 1.0, "d": 1.0})


def test_scores_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="no items"):
        compare({}, {})
    with pytest.raises(ValueError, match="finite"):
        compare({"a": float("nan")}, {"a": 1.0})
    with pytest.raises(ValueError, match="margin"):
        compare({"a": 1.0}, {"a": 1.0}, margin=-1)
    with pytest.raises(ValueError, match="no cluster"):
        compare({"a": 1.0}, {"a": 1.0}, {})
