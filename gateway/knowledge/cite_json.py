"""Citation markers in an answer that is JSON: taken out of the text of its string values. Pure."""

import re

from gateway.knowledge.cite import INSIDE, MOST_MARKER_CHARACTERS, Code, Marker, numbers_in

# What a string holds may be written as an escape: some models write all that is not ASCII so.
_OPEN = r"(?:\[|【|\\u005[bB]|\\u3010)"
_SHUT = r"(?:\]|】|\\u005[dD]|\\u3011)"
_HEX = "[0-9a-fA-F]"
_HALF_ESCAPE = rf"\\(?:u{_HEX}{{0,3}})?"
_HALF_MARKER = rf"{_OPEN}[\d,; ]{{0,{MOST_MARKER_CHARACTERS}}}(?:{_HALF_ESCAPE})?"
_INNER = re.compile(
    rf"(?P<marker>[ ]?{_OPEN}{INSIDE}{_SHUT})"
    r'|(?P<end>")'
    # What may yet become a marker, an escape, or belong to a run of backticks, when more text comes.
    rf"|(?P<partial>(?:`+|[ ]|[ ]?{_HALF_ESCAPE}|[ ]?{_HALF_MARKER})\Z)"
    rf"|(?P<escape>\\u{_HEX}{{4}}|\\[^u])"
    r"|(?P<ticks>`+)"
)
_OUTER = re.compile(r'["{}\[\],:]')
_ESCAPE = re.compile(rf"\\u{_HEX}{{4}}")


class JsonScanner:
    """Takes an answer in JSON in pieces of any size and gives it on without the markers in its string values.

    Everything else keeps its characters: keys, numbers, lists like `[1]`, escapes, and code between backticks.
    Nothing is parsed whole, so that an answer that is no JSON, or half of it, goes on as well. markers: those that
    named one of `count` sources, each where it stood in the text given out; unknown: numbers that named none.
    """

    def __init__(self, count: int) -> None:
        self.markers: list[Marker] = []
        self.unknown = 0
        self._count = count
        self._held = ""
        self._out = 0
        self._inside = False
        self._is_value = False
        self._open: list[str] = []
        self._awaits_key = False
        self._code = Code()

    def feed(self, text: str) -> str:
        """What may go out now. The same text in other pieces gives the same output in all."""
        whole, self._held = self._held + text, ""
        pieces: list[str] = []
        at = 0
        while at < len(whole):
            at = self._string(whole, at, pieces) if self._inside else self._structure(whole, at, pieces)
        return "".join(pieces)

    def finish(self) -> str:
        """What was held back: no more text comes, and half a marker is none."""
        rest, self._held = self._held, ""
        return rest

    def _structure(self, whole: str, at: int, pieces: list[str]) -> int:
        """Gives what stands outside strings, up to and with the next quotation mark."""
        for found in _OUTER.finditer(whole, at):
            mark = found[0]
            if mark == '"':
                self._inside = True
                self._is_value = not (self._awaits_key and self._open[-1:] == ["{"])
                self._code = Code()
                self._give(whole[at : found.end()], pieces)
                return found.end()
            if mark in "{[":
                self._open.append(mark)
            elif mark in "}]":
                del self._open[-1:]
            self._awaits_key = mark in "{,"
        self._give(whole[at:], pieces)
        return len(whole)

    def _string(self, whole: str, at: int, pieces: list[str]) -> int:
        """Gives what stands in a string, up to and with its end."""
        for found in _INNER.finditer(whole, at):
            self._give(whole[at : found.start()], pieces)
            at = found.end()
            if found.lastgroup == "partial":
                self._held = found[0]
                return at
            if found.lastgroup == "marker" and self._is_value and self._code.leaves_marker(found[0]):
                self._note(found[0])
                continue
            if found.lastgroup == "ticks" or found[0] == r"\n":
                self._code.leaves_marker("\n" if found[0] == r"\n" else found[0])
            self._give(found[0], pieces)
            if found.lastgroup == "end":
                self._inside = False
                return at
        self._give(whole[at:], pieces)
        return len(whole)

    def _give(self, text: str, pieces: list[str]) -> None:
        pieces.append(text)
        self._out += len(text)

    def _note(self, written: str) -> None:
        for number in numbers_in(_ESCAPE.sub("", written)):
            if 1 <= number <= self._count:
                self.markers.append(Marker(self._out, self._out, number))
            else:
                self.unknown += 1
