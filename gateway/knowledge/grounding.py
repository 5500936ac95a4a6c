"""How far an answer is borne by its sources: by its words and its numbers. Pure, and the same every time.

It finds answers that are about something else than their sources, and numbers from nowhere. It does not find a
subtle contradiction: "not" is no rare word.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from gateway.core.grounds import Support
from gateway.knowledge.cite import find_markers
from gateway.knowledge.words import STOP_WORDS

# An answer longer than this is measured by its beginning.
MOST_CHARACTERS = 40_000
MOST_NUMBERS = 20
LONGEST = 12
_WORD = re.compile(r"[^\W_]+")
# Written without spaces, so that a run of them is no word; any two that stand together are taken for one.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f\uac00-\ud7af]+")
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,'\u00a0\u202f]\d+)*(?![\d])")
_ENUMERATED = re.compile(r"^[ \t>#*-]*\d{1,3}[.)](?=\s)", re.MULTILINE)
_GROUPED = re.compile(r"\d{1,3}(?:[.,'\u00a0\u202f]\d{3})+")
_SPELT = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()  # noqa: SIM905 - sixteen quoted words would be read by nobody
    )
}
_ENDINGS = ("ingly", "edly", "ings", "ing", "ies", "ied", "ers", "ed", "es", "ly", "er", "s", "e", "y")
_LEAST_STEM = 3


def support(answer: str, cited: Sequence[str], others: Sequence[str] = ()) -> Support:
    """What the texts of sources bear of an answer.

    Words are looked for in the cited texts, or in all when none is cited; numbers in all. A word weighs by its
    rarity: the longer the rarer, and less when every source has it.
    """
    whole = answer[:MOST_CHARACTERS]
    spoken = _without_markers(whole)
    texts = [*cited, *others]
    stems = [frozenset(_stems(text)) for text in texts]
    held = frozenset().union(*(stems[: len(cited)] if cited else stems))
    total = borne = 0.0
    for stem, length in _weighed(spoken).items():
        weight = float(min(length, LONGEST))
        if len(stems) > 1 and all(stem in found for found in stems):
            weight /= 2
        total += weight
        borne += weight if stem in held else 0.0
    known = {value for text in texts for value in _values(text)}
    missing = [said for said, values in _said_numbers(spoken) if not values & known]
    score = round(borne / total, 4) if total else None
    return Support(score, tuple(dict.fromkeys(missing))[:MOST_NUMBERS])


def _without_markers(text: str) -> str:
    out, end = [], 0
    for marker in find_markers(text, 999):
        if marker.start >= end:
            out.append(text[end : marker.start])
            end = marker.end
    return "".join([*out, text[end:]])


def _weighed(text: str) -> dict[str, int]:
    """The distinct stems of a text's words with the longest form of each; words that all texts have are left out."""
    found: dict[str, int] = {}
    for word in _words(text):
        if word in STOP_WORDS or word.isdigit():
            continue
        stem = _stem(word)
        found[stem] = max(found.get(stem, 0), len(word))
    return found


def _stems(text: str) -> Iterator[str]:
    return (_stem(word) for word in _words(text))


def _words(text: str) -> Iterator[str]:
    for found in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        word = found[0]
        if not _UNSPACED.search(word):
            yield word
            continue
        for piece in re.split(f"({_UNSPACED.pattern})", word):
            if not _UNSPACED.fullmatch(piece):
                if piece:
                    yield piece
            elif len(piece) == 1:
                yield piece
            else:
                yield from (piece[at : at + 2] for at in range(len(piece) - 1))


def _stem(word: str) -> str:
    if not word.isascii():
        return word
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            return word[: -len(ending)]
    return word


def _said_numbers(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Each number of an answer with the values that it may stand for; those that count a list say nothing."""
    plain = _ENUMERATED.sub(" ", text)
    for found in _NUMBER.finditer(plain):
        yield found[0], frozenset(_readings(found[0]))


def _values(text: str) -> Iterator[str]:
    for found in _NUMBER.finditer(text):
        yield from _readings(found[0])
    for found in _WORD.finditer(text.casefold()):
        if found[0] in _SPELT:
            yield _SPELT[found[0]]


def _readings(written: str) -> Iterable[str]:
    """What a written number may mean: `1.500` is fifteen hundred here and one and a half there."""
    digits = unicodedata.normalize("NFKC", written)
    if _GROUPED.fullmatch(written):
        yield _plain(re.sub(r"\D", "", digits))
    *whole, last = re.split(r"[.,]", re.sub(r"['\s]", "", digits))
    if whole:
        yield _plain("".join(whole) + "." + last)
    else:
        yield _plain(last)


def _plain(number: str) -> str:
    whole, point, rest = number.partition(".")
    rest = rest.rstrip("0")
    return (whole.lstrip("0") or "0") + (point + rest if rest else "")
