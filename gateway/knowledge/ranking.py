"""Which chunks answer a question, and how sure that is. Pure: arrays in, arrays out.

**Order.** Words: BM25 with the collection's own word rarities. With vectors: the even mix of both, each
min-max scaled over the union of the best 100 (the best of the fusions tried on four sets); or another `Fusion`.

**Score**, in [0, 1]. A question's words weigh `rarity`; a word found nowhere weighs most. For a chunk,
`coverage` is the weight of the words it holds over the weight of all, `strength` the same with each word
counted by BM25's saturated frequency (1.0 = every word once in a chunk of usual length), and `mass` how many
words of the rarest kind the question's weight amounts to:

    confidence = sqrt(coverage * min(1, strength)) * (1 - exp(-coverage * mass))

The first factor asks whether the question's words are here, the second whether these words say anything.
The best confidence among the first ten chunks becomes the score of the first hit; the others have it in
proportion to their rank value, so scores fall from hit to hit. With vectors it is the mean, by the fusion's
weights, of that and of where the best cosine stands between two unrelated and two neighbouring chunks of the
collection.
"""

import math

import numpy as np
import numpy.typing as npt

from gateway.core.values import Value
from gateway.knowledge.fusion import CONVEX, Fusion

Ids = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float32]

POOL = 100
_LOOKED_AT = 10
_RANK_CONSTANT = 60
# A small collection has no rare words yet; it is weighed as if it stood among this many other chunks.
_PRIOR_CHUNKS = 250


class Posting(Value, frozen=True):
    """Where one word of the question occurs: ids ascending, and BM25's saturated frequency, both (n,).

    holding: how many chunks hold it, where these are not all; None when they are.
    """

    ids: Ids
    frequency: _Floats
    holding: int | None = None

    def within(self, permitted: Ids | None) -> "Posting":
        """Only what stands among these ids, which ascend; None lets all through."""
        if permitted is None:
            return self
        held = np.isin(self.ids, permitted, assume_unique=True)
        return Posting(self.ids[held], self.frequency[held])


class WordEvidence(Value, frozen=True):
    """What a question's words say about each chunk that holds one; all (n,), ids ascending."""

    ids: Ids
    strength: _Floats
    coverage: _Floats
    mass: float


class VectorEvidence(Value, frozen=True):
    """What a question's vector says: cosines of all embedded chunks, ids ascending, both (n,).

    unrelated, neighbouring: the usual cosine of two such chunks of this collection.
    """

    ids: Ids
    cosine: Vector
    unrelated: float
    neighbouring: float


class Ranking(Value, frozen=True):
    """Chunks best first with their scores, both (n,); ties go to the lower id."""

    ids: Ids
    scores: _Floats


_NOTHING = Ranking(np.empty(0, np.int64), np.empty(0))


def rarity(chunks: int, holding: int) -> float:
    """A word's weight: how rare it is among `chunks` chunks when `holding` of them hold it. Above 0."""
    return math.log(1 + (chunks + _PRIOR_CHUNKS - holding + 0.5) / (holding + 0.5))


def weigh_words(postings: list[Posting], chunks: int) -> WordEvidence:
    """The evidence of a question's words in a collection of `chunks` chunks."""
    weights = [rarity(chunks, posting.holding or len(posting.ids)) for posting in postings]
    whole = sum(weights) or 1.0
    if not any(len(posting.ids) for posting in postings):
        return WordEvidence(_NOTHING.ids, _NOTHING.scores, _NOTHING.scores, 0.0)
    ids, place = np.unique(np.concatenate([posting.ids for posting in postings]), return_inverse=True)
    held = np.concatenate(
        [np.full(len(posting.ids), weight) for posting, weight in zip(postings, weights, strict=True)]
    )
    strength = np.bincount(place, held * np.concatenate([posting.frequency for posting in postings]))
    coverage = np.bincount(place, held)
    return WordEvidence(ids, strength / whole, coverage / whole, whole / rarity(chunks, 1))


def rank_words(evidence: WordEvidence, limit: int) -> Ranking:
    """The best chunks by words alone."""
    return _scored(evidence.ids, evidence.strength, word_confidence(evidence), limit)


def rank_both(words: WordEvidence, vectors: VectorEvidence, limit: int, fusion: Fusion = CONVEX) -> Ranking:
    """The best chunks by words and vectors together."""
    # Who asks for more than the usual pool has found the best of it to be copies of each other.
    most = max(POOL, limit)
    best_words = words.ids[best_places(words.ids, words.strength, most)]
    best_vectors = vectors.ids[best_places(vectors.ids, vectors.cosine, most)]
    pool = np.union1d(best_words, best_vectors)
    if not len(pool):
        return _NOTHING
    share = fusion.word_share
    cosines = _looked_up(pool, vectors.ids, vectors.cosine, math.nan)
    if fusion.method == "rrf":
        by_words, by_vectors = _by_rank(pool, best_words), _by_rank(pool, best_vectors)
    else:
        by_words = _scaled(_looked_up(pool, words.ids, words.strength, 0.0))
        lowest = float(np.nanmin(cosines)) if not np.isnan(cosines).all() else 0.0
        by_vectors = _scaled(np.nan_to_num(cosines, nan=lowest))
    # What was just written has words and no vector yet; it stands by its words, or nobody would find it.
    by_vectors = np.where(np.isnan(cosines), by_words, by_vectors)
    values = share * by_words + (1 - share) * by_vectors
    confidence = share * word_confidence(words) + (1 - share) * _vector_confidence(vectors)
    return _scored(pool, values, confidence, limit)


def _by_rank(pool: Ids, best: Ids) -> _Floats:
    """1 / (60 + rank) for those of the pool that stand in `best`, which is best first; 0 for the others."""
    order = np.argsort(best, kind="stable")
    return _looked_up(pool, best[order], 1.0 / (_RANK_CONSTANT + 1.0 + order), 0.0)


def merge_rankings(rankings: list[Ranking], limit: int) -> Ranking:
    """Several collections' rankings as one, by score."""
    if not rankings:
        return _NOTHING
    ids = np.concatenate([ranking.ids for ranking in rankings])
    scores = np.concatenate([ranking.scores for ranking in rankings])
    order = best_places(ids, scores, limit)
    return Ranking(ids[order], scores[order])


def word_confidence(evidence: WordEvidence) -> float:
    """How sure the words are of their best passage, in [0, 1]; see above."""
    best = best_places(evidence.ids, evidence.strength, _LOOKED_AT)
    if not len(best):
        return 0.0
    coverage = np.minimum(1.0, evidence.coverage[best])
    fit = np.sqrt(coverage * np.minimum(1.0, evidence.strength[best]))
    return float((fit * (1 - np.exp(-coverage * evidence.mass))).max())


def _vector_confidence(evidence: VectorEvidence) -> float:
    return min(1.0, max(0.0, vector_position(evidence))) if len(evidence.cosine) else 0.0


def vector_position(evidence: VectorEvidence) -> float:
    """Where the best cosine stands between two unrelated (0) and two neighbouring (1) passages; may pass both."""
    span = max(0.1, evidence.neighbouring - evidence.unrelated)
    return (float(evidence.cosine.max()) - evidence.unrelated) / span


def _scored(ids: Ids, values: _Floats, confidence: float, limit: int) -> Ranking:
    order = best_places(ids, values, limit)
    if not len(order) or values[order[0]] <= 0:
        return _NOTHING
    return Ranking(ids[order], confidence * values[order] / values[order[0]])


def best_places(ids: Ids, values: _Floats | Vector, limit: int) -> npt.NDArray[np.intp]:
    """The places of the `limit` largest values, largest first, ties to the lower id."""
    if len(values) > limit:
        # All that reach the limit-th value stay, so that a tie at the border goes to the lower id too.
        border = np.partition(values, len(values) - limit)[len(values) - limit]
        chosen = np.flatnonzero(values >= border)
    else:
        chosen = np.arange(len(values))
    return chosen[np.lexsort((ids[chosen], -values[chosen]))][:limit]


def _looked_up(wanted: Ids, ids: Ids, values: _Floats | Vector, absent: float) -> _Floats:
    if not len(ids):
        return np.full(len(wanted), absent)
    place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[place] == wanted, values[place], absent).astype(np.float64)


def _scaled(values: _Floats) -> _Floats:
    low, high = float(values.min()), float(values.max())
    if high == low:  # One chunk, or all alike: no order to give, and 0 would read as no match.
        return np.full(len(values), float(high > 0))
    return (values - low) / (high - low)
