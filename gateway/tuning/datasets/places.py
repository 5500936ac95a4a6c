"""Where in a line of JSON a value stands. Parsers do not tell; so it is looked for, and only for rows with a fault."""

import json
import re

# Keys and indices from the row's object down to a value; a last part of KEY means the key before it, not its value.
Place = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^\s,\]}]+")
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def column_of(text: str, place: Place, start: int = 0) -> int:
    """The column, in characters from 1, of the value at `place` in the JSON that begins at `start`.

    Of a place that is not there: of its nearest part that is. The last of keys that stand twice, as parsers read it.
    Never raises: what is no JSON has column 1.
    """
    at = _skip(text, start)
    try:
        for part in place:
            found = _member(text, at, part)
            if found is None:
                break
            at = found
    except (ValueError, IndexError, RecursionError):
        return at + 1
    return at + 1


def key_column(text: str, place: Place, key: str) -> int:
    """The column of a key of the object at `place`, in characters from 1; of the object when it has no such key."""
    at = column_of(text, place) - 1
    try:
        found = [start for name, start, _ in _pairs(text, at) if name == key]
    except (ValueError, IndexError):
        return at + 1
    return (found[-1] if found else at) + 1


def elements(text: str, at: int) -> list[tuple[str | None, int, int]]:
    """(key, where it begins, where its value begins) of the object at `at`; of an array's elements the key is None."""
    at = _skip(text, at)
    if text[at] == "{":
        return [*_pairs(text, at)]
    found: list[tuple[str | None, int, int]] = []
    if text[at] == "[":
        at = _skip(text, at + 1)
        while text[at] != "]":
            found.append((None, at, at))
            at = _skip(text, _end(text, at))
            at = _skip(text, at + 1) if text[at] == "," else at
    return found


def _member(text: str, at: int, part: str | int) -> int | None:
    if isinstance(part, str):
        if text[at] != "{":
            return None
        values = [value for key, _, value in _pairs(text, at) if key == part]
        return values[-1] if values else None
    if text[at] != "[":
        return None
    at = _skip(text, at + 1)
    for _ in range(part):
        if text[at] == "]":
            return None
        at = _skip(text, _end(text, at))
        if text[at] != ",":
            return None
        at = _skip(text, at + 1)
    return None if text[at] == "]" else at


def _pairs(text: str, at: int) -> list[tuple[str, int, int]]:
    """(key, where the key begins, where its value begins) of the object at `at`."""
    found: list[tuple[str, int, int]] = []
    if text[at] != "{":
        return found
    at = _skip(text, at + 1)
    while text[at] == '"':
        after = _string_end(text, at)
        key = json.loads(text[at:after])
        value = _skip(text, _skip(text, after) + 1)
        found.append((key, at, value))
        at = _skip(text, _end(text, value))
        if text[at] != ",":
            break
        at = _skip(text, at + 1)
    return found


def _end(text: str, at: int) -> int:
    """Where the value at `at` ends."""
    if text[at] == '"':
        return _string_end(text, at)
    if text[at] not in "{[":
        scalar = _SCALAR.match(text, at)
        return scalar.end() if scalar else at + 1
    depth = 0
    while True:
        if text[at] == '"':
            at = _string_end(text, at)
            continue
        depth += (text[at] in "{[") - (text[at] in "}]")
        at += 1
        if not depth:
            return at


def _string_end(text: str, at: int) -> int:
    string = _STRING.match(text, at)
    if string is None:
        raise ValueError("no string")
    return string.end()


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
