"""Whether a candidate is as good as the champion, from scores of both on the same frozen set of items.

The difference of each item is what counts: items differ far more among each other than two models do on one. Items of
one conversation stand or fall together, so whole clusters are drawn anew, not items: a paired cluster bootstrap
(Efron and Tibshirani 1993; Field and Welsh 2007).
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from gateway.core.values import Value

DRAWS = 4_000
# Of the draws, so many lie beyond either end of a 95 % interval.
TAIL = 0.025
# Fewer clusters cannot carry an interval: their draws are nearly all alike.
FEWEST_CLUSTERS = 10
# Draws that are held at once: memory stays within some 30 MB for a set of any size.
CELLS_AT_ONCE = 4_000_000

Verdict = Literal["better", "not_worse", "worse", "inconclusive"]


class DifferentSets(ValueError):
    """The two were not evaluated on the same frozen set: nothing can be said of their difference."""


class Comparison(Value, frozen=True):
    """The candidate's mean minus the champion's, and its 95 % interval. n: items; clusters: what they fall into.

    verdict: `better` when the interval lies above 0, `worse` when it lies below 0 and reaches below -margin,
    `not_worse` when it lies above -margin, else `inconclusive`: more items are needed. low, high: None when there are
    too few clusters for an interval.
    """

    mean_difference: float
    low: float | None
    high: float | None
    n: int
    clusters: int
    verdict: Verdict


def compare(
    champion: Mapping[str, float],
    candidate: Mapping[str, float],
    clusters: Mapping[str, str] | None = None,
    margin: float = 0.0,
    seed: int = 0,
) -> Comparison:
    """The same comparison for the same arguments. Scores by item; higher is better.

    clusters: of each item, its conversation for instance; without them each item is one. margin: how much worse still
    passes, in units of the score, 0 or more. Raises DifferentSets when the items are not the same, ValueError when
    there are none, when a score is not finite, or the margin is below 0.
    """
    _require(champion, candidate, clusters, margin)
    items = sorted(champion)
    differences = np.array([candidate[item] - champion[item] for item in items], dtype=np.float64)
    named = [clusters[item] if clusters is not None else item for item in items]
    order = {name: place for place, name in enumerate(dict.fromkeys(named))}
    places = np.array([order[name] for name in named])
    sums = np.bincount(places, weights=differences, minlength=len(order))
    sizes = np.bincount(places, minlength=len(order)).astype(np.float64)
    mean = float(differences.mean())
    if len(order) < FEWEST_CLUSTERS:
        return Comparison(mean, None, None, len(items), len(order), "inconclusive")
    means = _drawn(sums, sizes, seed)
    low, high = (float(end) for end in np.quantile(means, (TAIL, 1 - TAIL)))
    return Comparison(mean, low, high, len(items), len(order), _verdict(low, high, margin))


def _require(
    champion: Mapping[str, float], candidate: Mapping[str, float], clusters: Mapping[str, str] | None, margin: float
) -> None:
    if champion.keys() != candidate.keys():
        missing, extra = len(champion.keys() - candidate.keys()), len(candidate.keys() - champion.keys())
        raise DifferentSets(
            f"not the same frozen set: {missing} items have only the champion's score, {extra} only the candidate's"
        )
    if not champion:
        raise ValueError("there are no items to compare on")
    if clusters is not None and (without := champion.keys() - clusters.keys()):
        raise ValueError(f"{len(without)} items have no cluster, {min(without)!r} for instance")
    if not np.isfinite([*champion.values(), *candidate.values()]).all():
        raise ValueError("every score must be a finite number")
    if not margin >= 0:
        raise ValueError(f"margin is {margin}; it must be 0 or more")


def _drawn(sums: np.ndarray, sizes: np.ndarray, seed: int) -> np.ndarray:
    """Means of sets of clusters drawn with replacement. sums, sizes: (clusters,); (DRAWS,) comes back."""
    generator = np.random.default_rng(seed)
    count = len(sums)
    at_once = max(1, CELLS_AT_ONCE // count)
    means: list[np.ndarray] = []
    for begin in range(0, DRAWS, at_once):
        drawn = generator.integers(0, count, size=(min(at_once, DRAWS - begin), count))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def _verdict(low: float, high: float, margin: float) -> Verdict:
    if low > 0:
        return "better"
    if low >= -margin:
        return "not_worse"
    return "worse" if high < 0 else "inconclusive"
