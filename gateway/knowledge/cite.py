"""Citation markers in an answer: `[1]`, `[1][2]`, `[1, 2]`. Pure; offsets count Unicode code points."""

import re
from collections.abc import Iterator

from gateway.core.values import Value

MOST_MARKER_CHARACTERS = 30

# Between the brackets of a marker.
INSIDE = r"\d{1,3}(?:[ ]?[,;][ ]?\d{1,3}){0,4}"
_TOKEN = re.compile(rf"`+|\n|[ ]?(?:\[{INSIDE}\]|【{INSIDE}】)")
# What may yet become a marker, or belong to a run of backticks, when more text comes.
_PARTIAL = re.compile(rf"(?:`+|[ ]|[ ]?[\[【][\d,; ]{{0,{MOST_MARKER_CHARACTERS}}})\Z")
_NUMBER = re.compile(r"\d+")
_FENCE_TICKS = 3


class Marker(Value, frozen=True):
    """A citation at text[start:end]. `[1, 2]` gives two markers of one place. source_n: from 1."""

    start: int
    end: int
    source_n: int


class Code:
    """Whether what is read stands in code: between backticks, or in a fence of three and more."""

    def __init__(self) -> None:
        self._open_ticks = 0

    def leaves_marker(self, found: str) -> bool:
        """Takes note of backticks and line ends; True when `found` is a marker outside code."""
        if found == "\n":
            if self._open_ticks < _FENCE_TICKS:  # Inline code ends with its line at the latest.
                self._open_ticks = 0
            return False
        if found[0] != "`":
            return not self._open_ticks
        if not self._open_ticks:
            self._open_ticks = len(found)
        elif len(found) == self._open_ticks or len(found) > self._open_ticks >= _FENCE_TICKS:
            self._open_ticks = 0
        return False


class CitationScanner:
    """Takes an answer in pieces of any size and gives it on, holding back only a possible partial marker.

    count: how many sources there are. Markers that name none of them are taken out, with a space before them,
    and counted in `unknown`; of `[1, 9]` stays `[1]`. Code is left alone: `a[9]` there is an index.
    markers: of all that was given out so far, in offsets of the text given out.
    """

    def __init__(self, count: int) -> None:
        self.markers: list[Marker] = []
        self.unknown = 0
        self._count = count
        self._held = ""
        self._out = 0
        self._code = Code()

    def feed(self, text: str) -> str:
        """What may go out now. The same text in other pieces gives the same output in all."""
        whole = self._held + text
        partial = _PARTIAL.search(whole)
        cut = partial.start() if partial else len(whole)
        self._held = whole[cut:]
        return self._given(whole[:cut])

    def finish(self) -> str:
        """What was held back: no more text comes."""
        rest, self._held = self._held, ""
        return self._given(rest)

    def _given(self, text: str) -> str:
        pieces = []
        for piece in self._pieces(text):
            pieces.append(piece)
            self._out += len(piece)
        return "".join(pieces)

    def _pieces(self, text: str) -> Iterator[str]:
        end = 0
        for found in _TOKEN.finditer(text):
            yield text[end : found.start()]
            end = found.end()
            yield self._marker(found[0]) if self._code.leaves_marker(found[0]) else found[0]
        yield text[end:]

    def _marker(self, written: str) -> str:
        named = numbers_in(written)
        known = [n for n in named if 1 <= n <= self._count]
        self.unknown += len(named) - len(known)
        if not known:
            return ""
        bare = written.lstrip(" ")
        space = written[: len(written) - len(bare)]
        if len(known) < len(named):
            bare = f"{bare[0]}{', '.join(map(str, known))}{bare[-1]}"
        start = self._out + len(space)
        self.markers.extend(Marker(start, start + len(bare), n) for n in dict.fromkeys(known))
        return space + bare


def find_markers(text: str, n: int) -> tuple[Marker, ...]:
    """The markers of a whole text that name one of `n` sources, in order; code is left alone."""
    code = Code()
    markers = []
    for found in _TOKEN.finditer(text):
        if code.leaves_marker(found[0]):
            start = found.end() - len(found[0].lstrip(" "))
            named = dict.fromkeys(numbers_in(found[0]))
            markers += [Marker(start, found.end(), number) for number in named if 1 <= number <= n]
    return tuple(markers)


def clean_markers(text: str, n: int) -> tuple[str, tuple[Marker, ...], int]:
    """A whole answer without markers that name no source, the markers left, and how many were taken out."""
    scanner = CitationScanner(n)
    cleaned = scanner.feed(text) + scanner.finish()
    return cleaned, tuple(scanner.markers), scanner.unknown


def numbers_in(written: str) -> list[int]:
    """The numbers that a marker names."""
    return [int(number) for number in _NUMBER.findall(written)]
