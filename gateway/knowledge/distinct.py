"""Near-duplicates: the same passage in two documents is worth one place in a prompt."""

import re
from collections.abc import Iterable

from gateway.knowledge.chunks import Passage

ALIKE = 0.9
_WORD = re.compile(r"\w+")


def distinct(passages: Iterable[Passage], limit: int) -> tuple[Passage, ...]:
    """The first `limit` passages, without those that repeat one before them.

    One repeats another when nine tenths of their words are shared and all their numbers are: two price lists
    that differ in one amount are two facts, not one.
    """
    kept: list[Passage] = []
    seen: list[tuple[frozenset[str], frozenset[str]]] = []
    for passage in passages:
        words = frozenset(_WORD.findall(passage.text.lower()))
        numbers = frozenset(word for word in words if any(map(str.isdigit, word)))
        if any(numbers == old_numbers and _alike(words, old) for old, old_numbers in seen):
            continue
        kept.append(passage)
        seen.append((words, numbers))
        if len(kept) == limit:
            break
    return tuple(kept)


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    small, large = sorted((len(one), len(other)))
    if small <= ALIKE * large:
        return small == large == 0
    shared = len(one & other)
    return shared > ALIKE * (small + large - shared)
