"""Questions that are about the same thing, put together by their words. Pure, and the same every time."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from gateway.knowledge.words import question_words

# How alike a question must be to the ones together with it, as the cosine of their weighed words.
LEAST_ALIKE = 0.45
ONLY_HERE = 0.5
_ENDINGS = ("ings", "ing", "ies", "ed", "es", "s")
_LEAST_STEM = 3


def alike(questions: Sequence[str]) -> list[list[int]]:
    """The places of questions that belong together, largest group first; in each the most typical comes first.

    A word weighs by how few of the questions have it. The order in which the questions come makes no difference.
    """
    words = [_stems(question) for question in questions]
    spread = Counter(stem for stems in words for stem in stems)
    vectors = [_vector(stems, spread, len(questions)) for stems in words]
    together: dict[frozenset[str], list[int]] = defaultdict(list)
    for place, stems in enumerate(words):
        together[stems].append(place)
    groups = _Groups()
    # The most frequent first, so that the rarer wordings gather around it.
    for stems, places in sorted(together.items(), key=lambda one: (-len(one[1]), sorted(one[0]))):
        groups.add(vectors[places[0]] if stems else {}, places)
    return [
        sorted(places, key=lambda place: (-_cosine(vectors[place], centre), questions[place], place))
        for centre, places in sorted(groups.found(), key=lambda one: (-len(one[1]), min(questions[p] for p in one[1])))
    ]


Vector = dict[str, float]


class _Groups:
    """Groups by their centre; which ones share a word with a question is looked up by the word."""

    def __init__(self) -> None:
        self._centres: list[Vector] = []
        self._places: list[list[int]] = []
        self._by_word: dict[str, set[int]] = defaultdict(set)

    def add(self, vector: Vector, places: list[int]) -> None:
        """Puts places with this vector to the group they are most like, or begins one."""
        near = sorted({number for word in vector for number in self._by_word[word]})
        best, likeness = -1, LEAST_ALIKE
        for number in near:
            found = _cosine(vector, self._centres[number])
            if found > likeness:
                best, likeness = number, found
        if best < 0:
            best = len(self._centres)
            self._centres.append({})
            self._places.append([])
        centre = self._centres[best]
        for word, weight in vector.items():
            centre[word] = centre.get(word, 0.0) + weight * len(places)
            self._by_word[word].add(best)
        self._places[best] += places

    def found(self) -> list[tuple[Vector, list[int]]]:
        """Each group's centre and places."""
        return list(zip(self._centres, self._places, strict=True))


def _vector(stems: frozenset[str], spread: Counter[str], count: int) -> Vector:
    # A word that only one question has joins it to none: it shall not keep it from the others by its rarity.
    weights = {stem: 1.0 + math.log(count / spread[stem]) if spread[stem] > 1 else ONLY_HERE for stem in sorted(stems)}
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {stem: weight / length for stem, weight in weights.items()}


def _cosine(one: Vector, other: Vector) -> float:
    if not one or not other:
        return 0.0
    dot = sum(weight * other.get(word, 0.0) for word, weight in one.items())
    lengths = math.sqrt(sum(w * w for w in one.values())) * math.sqrt(sum(w * w for w in other.values()))
    return dot / lengths if lengths else 0.0


def _stems(question: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in question_words(question))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            return word[: -len(ending)]
    return word
