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
Vector = dict[str, float]


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
    ordered = sorted(groups.found, key=lambda one: (-len(one.places), min(questions[place] for place in one.places)))
    return [_typical_first(group, questions, vectors) for group in ordered]


def _typical_first(group: "_Group", questions: Sequence[str], vectors: list[Vector]) -> list[int]:
    return sorted(group.places, key=lambda place: (-group.likeness(vectors[place]), questions[place], place))


class _Group:
    """places, and the sum of their vectors. square: of the centre's length."""

    def __init__(self) -> None:
        self.centre: Vector = {}
        self.places: list[int] = []
        self.square = 0.0

    def add(self, vector: Vector, places: list[int]) -> None:
        for word, weight in vector.items():
            old = self.centre.get(word, 0.0)
            new = old + weight * len(places)
            self.centre[word] = new
            self.square += new * new - old * old
        self.places += places

    def likeness(self, vector: Vector) -> float:
        """The cosine of a vector of length 1, or of none, with the centre."""
        centre = self.centre
        dot = sum(weight * centre[word] for word, weight in vector.items() if word in centre)
        return dot / math.sqrt(self.square) if dot else 0.0


class _Groups:
    """Groups by their centre; which ones share a word with a question is looked up by the word."""

    def __init__(self) -> None:
        self.found: list[_Group] = []
        self._by_word: dict[str, set[int]] = defaultdict(set)

    def add(self, vector: Vector, places: list[int]) -> None:
        """Puts places with this vector to the group they are most like, or begins one."""
        near = sorted({number for word in _telling(vector) for number in self._by_word[word]})
        best, likeness = len(self.found), LEAST_ALIKE
        for number in near:
            found = self.found[number].likeness(vector)
            if found > likeness:
                best, likeness = number, found
        if best == len(self.found):
            self.found.append(_Group())
        self.found[best].add(vector, places)
        for word in vector:
            self._by_word[word].add(best)


def _telling(vector: Vector) -> list[str]:
    """The words of which a group must have one to be alike: the others alone, the commonest, are too light for that."""
    rarest_last = sorted(vector.items(), key=lambda one: (one[1], one[0]))
    square = 0.0
    for number, (_, weight) in enumerate(rarest_last):
        square += weight * weight
        if square >= LEAST_ALIKE * LEAST_ALIKE:
            return [word for word, _ in rarest_last[number:]]
    return []


def _vector(stems: frozenset[str], spread: Counter[str], count: int) -> Vector:
    # A word that only one question has joins it to none: it shall not keep it from the others by its rarity.
    weights = {stem: 1.0 + math.log(count / spread[stem]) if spread[stem] > 1 else ONLY_HERE for stem in sorted(stems)}
    length = math.sqrt(sum(weight * weight for weight in weights.values()))
    return {stem: weight / length for stem, weight in weights.items()}


def _stems(question: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in question_words(question))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            return word[: -len(ending)]
    return word
