"""How what words say and what vectors say become one order."""

from typing import Literal

from gateway.core.values import Value


class Fusion(Value, frozen=True):
    """How words and vectors become one order. Only the proportion of the two weights counts; both 0 is even.

    convex: both evidences, scaled over the best 100 of each, added up. rrf: 1 / (60 + rank) of each, added up.
    """

    method: Literal["convex", "rrf"] = "convex"
    vector_weight: float = 0.5
    word_weight: float = 0.5

    @property
    def word_share(self) -> float:
        """The words' part of the whole, in [0, 1]."""
        words, vectors = max(0.0, self.word_weight), max(0.0, self.vector_weight)
        return words / (words + vectors) if words + vectors > 0 else 0.5


CONVEX = Fusion()
