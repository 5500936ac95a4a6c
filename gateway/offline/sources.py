"""Numbered sources in a prompt, and the sentence among them that best fits a question."""

import math
import re
from collections.abc import Iterable, Sequence

from gateway.core.call import Turn
from gateway.core.values import Value

_SOURCE = re.compile(r"^(?:[ \t>*-]*\[(\d{1,3})\][ \t]*|<source n=\"(\d{1,3})\"[^>]*>)(.*)$")
_END = "</source>"
_CLOSING = re.compile(r"^\s*</")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)|\n+")
_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be been but by can could did do does for from
    had has have how i if in into is it its may me more my need no not of on or our please she
    should so some such tell that the their them then there these they this to us was we were
    what when where which who why will with would you your
    """.split()  # noqa: SIM905 -- a hundred quoted words are harder to read than a paragraph
)


class Source(Value, frozen=True):
    """One numbered source: the number it was given, and its text."""

    number: int
    text: str


class Grounds(Value, frozen=True):
    """What a prompt asks, and the sources it brings along (empty when it brings none)."""

    question: str
    sources: tuple[Source, ...]


def words_of(text: str) -> list[str]:
    """The words that carry meaning, lower case, cut to six letters: a crude stem, good enough here."""
    return [word[:6] for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]


def grounds_of(turns: Sequence[Turn]) -> Grounds:
    """The question (the last user turn) and every source `[1] ...` of the newest turn that has some.

    A turn is taken to carry sources when its lines are numbered from 1. Where the question stands in the
    same turn, it is that turn's last paragraph.
    """
    last = max((index for index, turn in enumerate(turns) if turn.role == "user"), default=-1)
    question = turns[last].text if last >= 0 else ""
    for index in range(len(turns) - 1, -1, -1):
        text = turns[index].text
        if index == last:
            body, _, asked = text.rstrip().rpartition("\n\n")
            own = read_sources(body)
            if own and not _SOURCE.match(asked):
                return Grounds(question=asked.strip(), sources=own)
        elif turns[index].role != "assistant":
            sources = read_sources(text)
            if sources:
                return Grounds(question=question, sources=sources)
    return Grounds(question=question, sources=())


def read_sources(text: str) -> tuple[Source, ...]:
    """The sources of a block: each begins on a line `[n] ...` or `<source n="n">`, from 1, and runs to the next."""
    found: list[tuple[int, list[str]]] = []
    for line in text.splitlines():
        match = _SOURCE.match(line)
        number = (match[1] or match[2]) if match else ""
        if match and (found or number == "1"):
            found.append((int(number), [match[3]]))
        elif line.strip() == _END:
            continue
        elif _CLOSING.match(line):
            break
        elif found:
            found[-1][1].append(line)
    return tuple(Source(number=number, text="\n".join(lines).strip()) for number, lines in found)


def _sentences(sources: Iterable[Source]) -> tuple[list[tuple[str, int]], list[frozenset[str]]]:
    """Each sentence with its source's number, and its words. A heading lends its words to the sentence below it."""
    sentences: list[tuple[str, int]] = []
    bags: list[frozenset[str]] = []
    for source in sources:
        heading: list[str] = []
        for sentence in map(str.strip, _SENTENCE.split(source.text)):
            if sentence.startswith("#"):
                heading = words_of(sentence)
            elif sentence:
                sentences.append((sentence, source.number))
                bags.append(frozenset(words_of(sentence) + heading))
                heading = []
    return sentences, bags


def best_sentence(question: str, sources: Iterable[Source]) -> tuple[str, int] | None:
    """The sentence that shares the most telling words with the question, and its source's number.

    A word counts the more, the fewer sentences have it; ties go to the earlier sentence. None when no
    sentence shares a word.
    """
    sentences, bags = _sentences(sources)
    weights = {word: math.log(1 + len(bags) / (1 + sum(word in bag for bag in bags))) for word in words_of(question)}
    best, best_score = None, 0.0
    for pair, bag in zip(sentences, bags, strict=True):
        shared = sum(weights[word] for word in bag & weights.keys())
        # Long sentences hold a question's words by chance; headings repeat them and say nothing.
        score = shared / (8 + len(bag)) ** 0.5 * (1.0 if pair[0].endswith((".", "!", "?")) else 0.5)
        # Sources come best first; a single rare word in a late one is chance.
        score /= pair[1]
        if score > best_score:
            best, best_score = pair, score
    return best
