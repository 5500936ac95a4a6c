"""How alike two texts are, letter by letter and word by word: the weighted ratio that `fuzzy_match` names.

The measure is the one of the field's usual library (RapidFuzz' `WRatio`, without a processor): tests compare the two by
recorded figures. It is written here because no other part of the gateway would use that library.
"""

from collections import Counter
from collections.abc import Sequence

# Parts of a longer text are compared with a shorter one at every place; that costs as many steps.
MOST_STEPS = 6_000_000
LONG, VERY_LONG = 1.5, 8.0
OF_WORDS, OF_PARTS, OF_SMALL_PARTS = 0.95, 0.9, 0.6


class TooLong(ValueError):
    """Two texts whose comparison would take seconds of everybody's time."""


def weighted_ratio(one: str, other: str) -> float:
    """From 0 to 1. Raises TooLong."""
    if not one or not other:
        return 0.0
    unlike = max(len(one), len(other)) / min(len(one), len(other))
    best = ratio(one, other)
    if unlike < LONG:
        return max(best, max(_sorted_ratio(one, other), _set_ratio(one, other)) * OF_WORDS)
    scale = OF_PARTS if unlike <= VERY_LONG else OF_SMALL_PARTS
    best = max(best, partial_ratio(one, other) * scale)
    return max(best, _partial_words(one, other) * OF_WORDS * scale)


def ratio(one: Sequence[object], other: Sequence[object]) -> float:
    """Twice what both have in the same order, of all that they have."""
    total = len(one) + len(other)
    return 1.0 if not total else 2 * common_length(one, other) / total


def common_length(one: Sequence[object], other: Sequence[object]) -> int:
    """The length of the longest common subsequence, by Hyyrö's bit vectors in one whole number."""
    return _common(_masks(one), len(one), other)


def _masks(letters: Sequence[object]) -> dict[object, int]:
    masks: dict[object, int] = {}
    for place, letter in enumerate(letters):
        masks[letter] = masks.get(letter, 0) | 1 << place
    return masks


def _common(masks: dict[object, int], length: int, other: Sequence[object]) -> int:
    full = (1 << length) - 1
    state = full
    for letter in other:
        met = state & masks.get(letter, 0)
        state = ((state + met) | (state - met)) & full
    return length - state.bit_count()


def partial_ratio(one: str, other: str) -> float:
    """The best ratio of the shorter text with any part of the longer one. Raises TooLong."""
    if not one or not other:
        return 1.0 if one == other else 0.0
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) * (len(longer) + len(shorter)) > MOST_STEPS:
        raise TooLong(f"texts of {len(shorter):,} and {len(longer):,} characters are too long to be compared in parts")
    best = _best_part(shorter, longer)
    return max(best, _best_part(longer, shorter)) if len(shorter) == len(longer) and best < 1 else best


def _best_part(shorter: str, longer: str) -> float:
    """Parts as long as the shorter text, and shorter ones at both ends."""
    if shorter in longer:
        return 1.0
    masks, length = _masks(shorter), len(shorter)
    counted = Counter(shorter)
    best = 0.0
    for begin in range(1 - length, len(longer)):
        part = longer[max(0, begin) : begin + length]
        # A part whose outer letter is in vain is beaten by one without it.
        if part[-1] not in masks and begin + length <= len(longer):
            continue
        total = length + len(part)
        if 2 * min(len(part), length) / total <= best:
            continue
        if best and 2 * (counted & Counter(part)).total() / total <= best:
            continue
        best = max(best, 2 * _common(masks, length, part) / total)
    return best


def _sorted_ratio(one: str, other: str) -> float:
    return ratio(" ".join(sorted(one.split())), " ".join(sorted(other.split())))


def _set_ratio(one: str, other: str) -> float:
    """Words that both have count once, whatever stands around them."""
    mine, theirs = set(one.split()), set(other.split())
    if not mine or not theirs:
        return 0.0
    both = mine & theirs
    if both and (not mine - theirs or not theirs - mine):
        return 1.0
    only_mine, only_theirs = " ".join(sorted(mine - theirs)), " ".join(sorted(theirs - mine))
    shared = len(" ".join(sorted(both)))
    gap = 1 if shared else 0
    mine_length, their_length = shared + gap + len(only_mine), shared + gap + len(only_theirs)
    unlike = len(only_mine) + len(only_theirs) - 2 * common_length(only_mine, only_theirs)
    best = 1 - unlike / (mine_length + their_length)
    if not shared:
        return best
    alone = max(1 - (gap + len(only)) / (2 * shared + gap + len(only)) for only in (only_mine, only_theirs))
    return max(best, alone)


def _partial_words(one: str, other: str) -> float:
    mine, theirs = set(one.split()), set(other.split())
    if mine & theirs:
        return 1.0
    best = partial_ratio(" ".join(sorted(one.split())), " ".join(sorted(other.split())))
    if len(mine) == len(one.split()) and len(theirs) == len(other.split()):
        return best
    return max(best, partial_ratio(" ".join(sorted(mine)), " ".join(sorted(theirs))))
