"""JSON as it is written: with what parsers pass over in silence, such as a key that stands twice."""

import json
import re
from collections.abc import Iterator

from gateway.core.values import Value
from gateway.tuning.datasets.places import Place, elements

_HALF = re.compile(r"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|[c-fC-F][0-9a-fA-F]{2})")
_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")


class Decoded(Value, frozen=True):
    """A value, or where it stops being JSON. doubled: (column, key) of keys that stand twice. constant: NaN or so."""

    data: object = None
    fault: tuple[int, str] | None = None
    doubled: tuple[tuple[int, str], ...] = ()
    constant: str | None = None


class _Seen:
    """What the decoder's hooks notice; one for the module would be shared by threads."""

    def __init__(self) -> None:
        self.is_doubled = False
        self.constant: str | None = None
        self.decoder = json.JSONDecoder(object_pairs_hook=self.pairs, parse_constant=self.note)

    def pairs(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self.is_doubled = True
        return found

    def note(self, constant: str) -> float:
        self.constant = constant
        return float(constant.lower().replace("infinity", "inf"))


def decode(text: str) -> Decoded:
    """The one JSON value of `text`, or the place where it stops being one. Never raises."""
    seen = _Seen()
    try:
        data = seen.decoder.decode(text)
    except json.JSONDecodeError as fault:
        return Decoded(fault=(fault.pos + 1, fault.msg))
    except RecursionError:
        return Decoded(fault=(1, "nested too deeply"))
    except ValueError as fault:
        # An integer of more digits than Python converts.
        return Decoded(fault=(1, str(fault).split(";", maxsplit=1)[0]))
    doubled = tuple(_doubled(text)) if seen.is_doubled else ()
    return Decoded(data, None, doubled, seen.constant)


def lone_surrogate(text: str, data: object) -> tuple[int, str] | None:
    """(column, message) of half a surrogate pair or a NUL character, which no trainer's text can hold."""
    if "\\u" not in text:
        return None
    if "\\u0000" in text and any("\0" in value for _, value in strings_of(data)):
        return text.find("\\u0000") + 1, "U+0000 stands in a string; it cannot be stored as text"
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        half = _HALF.search(_PAIR.sub(lambda pair: " " * len(pair[0]), text))
        return (half.start() + 1 if half else 1), "half of a surrogate pair stands in a string; it is no character"
    return None


def strings_of(value: object, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every string of a value with its place; keys are none."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, member in value.items():
            yield from strings_of(member, (*place, key))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from strings_of(member, (*place, number))


def _doubled(text: str, at: int = 0) -> Iterator[tuple[int, str]]:
    keys: set[str] = set()
    for key, column, value in elements(text, at):
        if key is not None:
            if key in keys:
                yield column + 1, key
            keys.add(key)
        if text[value] in "{[":
            yield from _doubled(text, value)
