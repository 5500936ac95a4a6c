"""What a collection shows of whether it holds the answer to a call: the evidence behind the condition `knowledge`.

Pure: arrays in, numbers out. `policy.weights` says what each number is; a policy's weights make a score of them.
"""

import numpy as np

from gateway.core.facts import Evidence
from gateway.core.values import Value
from gateway.knowledge.ranking import (
    VectorEvidence,
    WordEvidence,
    best_places,
    vector_position,
    word_confidence,
)

LOOKED_AT = 10
MOST_STRENGTH = 2.0


class Measured(Value, frozen=True):
    """Of one text in one collection. meaning, relative: None without vectors."""

    confidence: float = 0.0
    coverage: float = 0.0
    strength: float = 0.0
    weight: float = 0.0
    meaning: float | None = None
    relative: float | None = None


def measured(words: WordEvidence, vectors: VectorEvidence | None) -> Measured:
    """What the best passages show, by words and, where there are vectors, by meaning."""
    best = best_places(words.ids, words.strength, LOOKED_AT)
    confidence = coverage = strength = weight = 0.0
    if len(best):
        covered = np.minimum(1.0, words.coverage[best])
        confidence = word_confidence(words)
        coverage = float(covered.max())
        strength = min(MOST_STRENGTH, float(words.strength[best[0]]))
        weight = 1.0 - float(np.exp(-(covered * words.mass).max()))
    if vectors is None or not len(vectors.cosine):
        return Measured(confidence, coverage, strength, weight)
    return Measured(confidence, coverage, strength, weight, float(vectors.cosine.max()), vector_position(vectors))


def evidence(turn: Measured, talk: Measured) -> Evidence:
    """Both texts' numbers under the names that weights use."""
    found: list[tuple[str, float]] = []
    for of, one in (("turn", turn), ("talk", talk)):
        found += [
            (f"{of}_confidence", one.confidence),
            (f"{of}_coverage", one.coverage),
            (f"{of}_strength", one.strength),
            (f"{of}_weight", one.weight),
        ]
        if one.meaning is not None and one.relative is not None:
            found += [(f"{of}_meaning", one.meaning), (f"{of}_meaning_relative", one.relative)]
    return tuple((name, round(value, 6)) for name, value in found)
