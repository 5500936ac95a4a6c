"""How alike texts are: by their words as hashed counts, or as an embedder sees them. Pure: texts and arrays.

By words, a text is the counts of its words, of pairs of neighbours, and of four letters in a row (so that
`refund` and `refunds` meet), each weighed by how rare it is among all examples.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from gateway.core.values import Value

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]

PLACES = 4096
# Of a long text the beginning tells what it asks for; the time grows with the length, and a caller chooses that.
LOOKED_AT = 2_000
NEAREST = 5
# What all examples of a line share is what marks the line, though it is rare among nothing but themselves: they are
# weighed as if as many other texts stood beside them, and these at least.
OTHERS = 250
_WORD = re.compile(r"[^\W_]+")


def counts(text: str) -> dict[int, float]:
    """The places of a text's features among PLACES, each with 1 + log of its count."""
    found = Counter(zlib.crc32(feature.encode(errors="replace")) % PLACES for feature in _features(text[:LOOKED_AT]))
    return {place: 1.0 + math.log(count) for place, count in found.items()}


def _features(text: str) -> Iterable[str]:
    words = _WORD.findall(text.lower())
    for number, word in enumerate(words):
        yield "w" + word
        if number:
            yield f"b{words[number - 1]} {word}"
        edged = f"#{word}#"
        for start in range(len(edged) - 3):
            yield "c" + edged[start : start + 4]


def rarities(texts: Iterable[dict[int, float]]) -> Vector:
    """(PLACES,) float32: how much each feature tells, by how few of the texts have it."""
    holding = np.zeros(PLACES)
    total = 0
    for text in texts:
        holding[list(text)] += 1
        total += 1
    return np.log((1 + total + max(OTHERS, total)) / (1 + holding)).astype(np.float32)


class Likeness(Value, frozen=True):
    """Examples as unit rows. by_place: their transpose, (dim, n) float32, or float16 where `compared` reads it.

    unrelated, typical: the mean likeness of two examples, and the median of an example's likeness to its five
    nearest: the scale on which a new text is judged.
    """

    by_place: Matrix | npt.NDArray[np.float16]
    unrelated: float
    typical: float

    def nearest(self, likeness: Vector) -> float:
        """The mean of the five highest of (n,) likenesses."""
        count = min(NEAREST, len(likeness))
        return float(np.partition(likeness, len(likeness) - count)[-count:].mean()) if count else 0.0

    def relative(self, nearest: float) -> float:
        """Where a likeness stands between unrelated (0) and typical (1) examples; within [-1, 2]."""
        return min(2.0, max(-1.0, (nearest - self.unrelated) / max(0.05, self.typical - self.unrelated)))


def likeness_of(rows: Matrix) -> Likeness:
    """Examples, (n, dim) float32 with rows of unit length, with their own scale measured."""
    among = rows @ rows.T
    np.fill_diagonal(among, -1.0)
    count = min(NEAREST, len(rows) - 1)
    if count < 1:
        return Likeness(np.ascontiguousarray(rows.T), 0.0, 1.0)
    best = np.partition(among, len(rows) - count, axis=1)[:, -count:].mean(axis=1)
    apart = among[among > -1.0]
    unrelated = float(apart.mean()) if len(apart) else 0.0
    return Likeness(np.ascontiguousarray(rows.T), unrelated, float(np.median(best)))


def unit_rows(texts: Sequence[dict[int, float]], weights: Vector) -> Matrix:
    """Texts as (n, PLACES) float32 rows of unit length; a text without words is all zeros."""
    rows = np.zeros((len(texts), PLACES), np.float32)
    for row, text in zip(rows, texts, strict=True):
        row[list(text)] = list(text.values())
    rows *= weights
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9), np.float32)


def compared(text: dict[int, float], weights: Vector, with_rows: Likeness) -> Vector:
    """(n,) float32: how alike a text is to each example. Reads only the places that the text has."""
    places = np.fromiter(text, np.int64, len(text))
    values = np.fromiter(text.values(), np.float32, len(text)) * weights[places]
    norm = float(np.linalg.norm(values))
    if not norm:
        return np.zeros(with_rows.by_place.shape[1], np.float32)
    return np.asarray((values / norm) @ with_rows.by_place[places].astype(np.float32), np.float32)


def in_half(examples: Likeness) -> Likeness:
    """The same in half the memory: a thousand examples by words then take 8 MB.

    For `compared` alone: it reads so few places that making those whole again costs nothing.
    """
    return Likeness(examples.by_place.astype(np.float16), examples.unrelated, examples.typical)
