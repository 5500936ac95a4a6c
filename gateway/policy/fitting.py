"""Weights from labelled evidence: logistic regression, small enough to be read afterwards. Pure: numbers in and out.

Each weight is pulled towards its prior (0 for most); how hard is chosen by cross-validation among a few strengths.
Evidence that never varies in the calls at hand keeps its prior. No weight takes the sign that is against its sense:
pieces of evidence resemble each other, and left free they balance each other out with large weights of both signs,
which fit the calls at hand a little better and mean nothing.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gateway.core.facts import Evidence
from gateway.core.values import Value
from gateway.policy.weights import AGAINST, Linear

Array = npt.NDArray[np.float64]

STRENGTHS = (0.03, 0.1, 0.3, 1.0)
FOLDS = 5
STEPS = 200
# What common sense says before any call is seen: a line that was never shown tools, or JSON, is not meant for them.
PRIOR = {"different_tools": -2.0, "different_format": -2.0}
DIGITS = 4


class Labelled(Value, frozen=True):
    """One piece of evidence and whether it was right. group: calls of one conversation stay in one fold."""

    evidence: Evidence
    is_right: bool
    group: int


class Fitted(Value, frozen=True):
    """A model, the strength of its pull, and its mean log loss on calls that it had not seen."""

    model: Linear
    strength: float
    loss: float


def fit(rows: Sequence[Labelled], names: Sequence[str]) -> Fitted:
    """The model of `names` that says best of evidence it has not seen whether it is right.

    Raises ValueError when all rows are right or none is: then there is nothing to tell apart; and for evidence that
    is no number.
    """
    found = np.array([[dict(row.evidence).get(name, 0.0) for name in names] for row in rows], np.float64)
    right = np.array([row.is_right for row in rows], np.float64)
    if not len(rows) or right.min() == right.max():
        raise ValueError("the labelled calls must hold both kinds: those that are meant and those that are not")
    if not np.isfinite(found).all():
        raise ValueError("a piece of evidence is no number: NaN or infinite")
    folds = np.array([row.group % FOLDS for row in rows])
    prior = np.array([PRIOR.get(name, 0.0) for name in names])
    task = _Task(found, right, prior, np.array([-1.0 if name in AGAINST else 1.0 for name in names]))
    losses = {strength: _loss(task, folds, strength) for strength in STRENGTHS}
    strength = min(STRENGTHS, key=lambda one: losses[one])
    solved = _solve(task, strength)
    weights = tuple((name, round(float(weight), DIGITS)) for name, weight in zip(names, solved[1:], strict=True))
    return Fitted(Linear(round(float(solved[0]), DIGITS), weights), strength, losses[strength])


class _Task(Value, frozen=True):
    """What a model is fitted to: (n, k) evidence, (n,) whether it is right, (k,) priors and signs."""

    found: Array
    right: Array
    prior: Array
    signs: Array

    def only(self, rows: npt.NDArray[np.bool_]) -> "_Task":
        return _Task(self.found[rows], self.right[rows], self.prior, self.signs)


def _loss(task: _Task, folds: npt.NDArray[np.int64], strength: float) -> float:
    losses = np.full(len(task.right), np.nan)
    for fold in range(FOLDS):
        held = folds == fold
        known = task.only(~held)
        if not held.any() or not len(known.right) or known.right.min() == known.right.max():
            continue
        share = np.clip(_shares(task.found[held], _solve(known, strength)), 1e-9, 1 - 1e-9)
        losses[held] = -np.where(task.right[held] > 0, np.log(share), np.log(1 - share))
    told = losses[~np.isnan(losses)]
    return float(told.mean()) if len(told) else float("inf")


def _shares(found: Array, solved: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(solved[0] + found @ solved[1:], -30, 30))))


def _solve(task: _Task, strength: float) -> Array:
    """Intercept and weights by projected Newton steps, on evidence scaled to unit deviation."""
    middle, scale = task.found.mean(axis=0), task.found.std(axis=0)
    scale[scale < 1e-9] = 1.0
    columns = np.column_stack([np.ones(len(task.found)), (task.found - middle) / scale])
    target = np.concatenate([[0.0], task.prior * scale])
    signs = np.concatenate([[0.0], task.signs])
    # The intercept is hardly pulled at all: how common an answer is must be free.
    pull = np.concatenate([[1e-6], np.full(task.found.shape[1], strength)])

    def cost(at: Array) -> float:
        logit = columns @ at
        return float((np.logaddexp(0, logit) - task.right * logit).sum() + 0.5 * (pull * (at - target) ** 2).sum())

    solved = target.copy()
    for _ in range(STEPS):
        share = _shares(columns[:, 1:], solved)
        slope = columns.T @ (share - task.right) + pull * (solved - target)
        # A weight at 0 that would go the wrong way stays there for this step.
        free = (signs == 0) | (np.abs(solved) > 1e-12) | (slope * signs < 0)
        bend = np.maximum(share * (1 - share), 1e-6)
        curve = (columns[:, free] * bend[:, None]).T @ columns[:, free] + np.diag(pull[free])
        step = np.zeros_like(solved)
        step[free] = np.linalg.solve(curve, slope[free])
        moved = _descended(solved, step, signs, cost)
        if moved is None or np.abs(moved - solved).max() < 1e-7:
            break
        solved = moved
    weights = solved[1:] / scale
    return np.concatenate([[solved[0] - float((weights * middle).sum())], weights])


def _descended(solved: Array, step: Array, signs: Array, cost: Callable[[Array], float]) -> Array | None:
    """As far along a step as the cost falls, within the signs; None when it falls nowhere."""
    before, length = cost(solved), 1.0
    while length > 1e-6:
        moved = solved - length * step
        moved = np.where(signs * moved < 0, 0.0, moved)
        if cost(moved) < before - 1e-12:
            return np.asarray(moved)
        length /= 2
    return None


def macro_f1(wanted: Sequence[str], given: Sequence[str], labels: Sequence[str]) -> float:
    """The mean over labels of F1: of each label the harmonic mean of precision and recall."""
    return sum(f1_by_label(wanted, given, labels).values()) / len(labels)


def f1_by_label(wanted: Sequence[str], given: Sequence[str], labels: Sequence[str]) -> Mapping[str, float]:
    """F1 of each label; one that neither is wanted nor given has 0."""
    found = {}
    for label in labels:
        hits = sum(w == label == g for w, g in zip(wanted, given, strict=True))
        misses = sum((w == label) != (g == label) for w, g in zip(wanted, given, strict=True))
        found[label] = 2 * hits / (2 * hits + misses) if hits else 0.0
    return found
