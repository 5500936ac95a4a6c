"""How much two texts have in common, word by word: BLEU, GLEU, METEOR and ROUGE, each from 0 to 1.

Implementations of our own after the papers named below. Words are runs of letters and digits; BLEU and GLEU count
punctuation as words too and keep the case, the others leave both out.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

from gateway.tuning.graders.fuzzy import common_length

_WORD = re.compile(r"\w+")
_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")
LONGEST = 4
# Denkowski and Lavie's weights, as used by NLTK.
_ALPHA, _BETA, _GAMMA = 0.9, 3.0, 0.5


def bleu(text: str, reference: str) -> float:
    """BLEU-4 of one sentence (Papineni 2002), n-grams from two words on smoothed by one (Lin and Och 2004)."""
    ours, theirs = _WORD_OR_MARK.findall(text), _WORD_OR_MARK.findall(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    total = 0.0
    for size in range(1, LONGEST + 1):
        met, all_ours, _ = _met(ours, theirs, size)
        smoothed = (met, all_ours) if size == 1 else (met + 1, all_ours + 1)
        if not smoothed[0]:
            return 0.0
        total += math.log(smoothed[0] / smoothed[1]) / LONGEST
    brevity = min(0.0, 1 - len(theirs) / len(ours))
    return float(math.exp(total + brevity))


def gleu(text: str, reference: str) -> float:
    """Google's GLEU of one sentence (Wu 2016): the lesser of precision and recall over 1- to 4-grams."""
    ours, theirs = _WORD_OR_MARK.findall(text), _WORD_OR_MARK.findall(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    counts = [_met(ours, theirs, size) for size in range(1, LONGEST + 1)]
    met, all_ours, all_theirs = (sum(column) for column in zip(*counts, strict=True))
    return float(met / max(all_ours, all_theirs, 1))


def meteor(text: str, reference: str) -> float:
    """METEOR (Banerjee and Lavie 2005) with its exact stage alone: there are no stems and no synonyms here."""
    ours, theirs = _words(text), _words(reference)
    if not ours or not theirs:
        return float(ours == theirs)
    places = _aligned(ours, theirs)
    if not places:
        return 0.0
    precision, recall = len(places) / len(ours), len(places) / len(theirs)
    mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
    steps = itertools.pairwise(places)
    chunks = 1 + sum(1 for (a, b), (c, d) in steps if (c, d) != (a + 1, b + 1))
    return float(mean * (1 - _GAMMA * (chunks / len(places)) ** _BETA))


def rouge(text: str, reference: str, size: int) -> float:
    """ROUGE-N (Lin 2004): F1 of the n-grams. size: how many words are one."""
    ours, theirs = _words(text), _words(reference)
    if ours == theirs and len(ours) < size:
        # Two equal texts too short for one n-gram are equal all the same.
        return 1.0
    met, all_ours, all_theirs = _met(ours, theirs, size)
    return _f1(met, all_ours, all_theirs)


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L (Lin 2004): F1 of the longest common subsequence of words."""
    ours, theirs = _words(text), _words(reference)
    if not ours and not theirs:
        return 1.0
    return _f1(common_length(ours, theirs), len(ours), len(theirs))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _grams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[place : place + size]) for place in range(len(words) - size + 1))


def _met(ours: Sequence[str], theirs: Sequence[str], size: int) -> tuple[int, int, int]:
    """How many n-grams both have, and how many each has."""
    mine, other = _grams(ours, size), _grams(theirs, size)
    return (mine & other).total(), mine.total(), other.total()


def _f1(met: int, ours: int, theirs: int) -> float:
    return 2 * met / (ours + theirs) if met else 0.0


def _aligned(ours: Sequence[str], theirs: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places of equal words. Of several the one that goes on where the last pair ended, else the first."""
    free: dict[str, list[int]] = {}
    for place, word in enumerate(theirs):
        free.setdefault(word, []).append(place)
    pairs: list[tuple[int, int]] = []
    for place, word in enumerate(ours):
        places = free.get(word)
        if not places:
            continue
        following = pairs[-1][1] + 1 if pairs else 0
        taken = following if following in places else places[0]
        places.remove(taken)
        pairs.append((place, taken))
    return pairs
