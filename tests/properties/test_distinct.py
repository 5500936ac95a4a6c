"""Of two passages that say the same, one at most is given; no passage is dropped for a likeness it does not have."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.chunks import Passage
from gateway.knowledge.distinct import distinct

WORDS = [f"w{chr(97 + n)}" for n in range(26)] + ["10", "20", "1,5"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=30)


@st.composite
def texts_with_copies(draw: st.DrawFn) -> list[str]:
    """Texts, and after them some of the same with a word more, a word less, or another case and order."""
    found = [list(words) for words in draw(st.lists(TEXTS, min_size=1, max_size=6))]
    copies = []
    for words in draw(st.lists(st.sampled_from(found), max_size=6)):
        copy = list(draw(st.permutations(words)))
        if draw(st.booleans()):
            copy.append(draw(st.sampled_from(WORDS)))
        copies.append([word.upper() if draw(st.booleans()) else word for word in copy])
    return [" ".join(words) for words in draw(st.permutations([*found, *copies]))]


def numbers(words: set[str]) -> set[str]:
    return {word for word in words if any(letter.isdigit() for letter in word)}


def repeats(one: str, other: str) -> bool:
    """Nine tenths of the words shared, and all the numbers."""
    first, second = (set(text.lower().replace(",", " ").split()) for text in (one, other))
    if numbers(first) != numbers(second):
        return False
    return first == second or len(first & second) > 0.9 * len(first | second)


@given(texts_with_copies(), st.integers(1, 12))
def test_no_two_that_repeat_each_other_and_none_lost(texts: list[str], limit: int) -> None:
    passages = [Passage("c", f"d{n}", "v", "", text, 1.0 - n / 100) for n, text in enumerate(texts)]
    kept = distinct(passages, limit)
    assert len(kept) <= limit
    assert [one.document for one in kept] == sorted((one.document for one in kept), key=lambda name: int(name[1:]))
    for place, one in enumerate(kept):
        assert not any(repeats(one.text, other.text) for other in kept[:place])
    if len(kept) < limit:
        for passage in passages:
            assert passage in kept or any(repeats(passage.text, one.text) for one in kept)
