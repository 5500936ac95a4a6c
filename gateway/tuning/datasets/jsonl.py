"""Lines of a training file as JSON values, with every fault of their form; also of files that are no JSONL at all."""

import ast
import codecs
import json
import re
from collections.abc import Iterable, Iterator

from gateway.core.values import Value
from gateway.tuning.datasets.json_text import Decoded, decode, lone_surrogate

# A file that is one pretty-printed value has to be held whole; past this it is named and not read.
MOST_HELD = 64 * 2**20
# literal_eval builds a syntax tree of some hundred times the text.
MOST_PYTHON = 200_000
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "ZIP (perhaps an Excel workbook)"),
    (b"PAR1", "Parquet"),
    (b"\xfd7zXZ", "xz"),
    (b"BZh", "bzip2"),
    (b"(\xb5/\xfd", "Zstandard"),
    (codecs.BOM_UTF16_LE, "UTF-16 text"),
    (codecs.BOM_UTF16_BE, "UTF-16 text"),
)
# What tells Python's spelling from JSON's with a comma too many.
_PYTHON = re.compile(r"'|\b(?:None|True|False)\b|\(")


class LineFault(Value, frozen=True):
    """What is wrong with a line's form. column: in characters from 1."""

    code: str
    column: int
    message: str


class Line(Value, frozen=True):
    """A line. data: its JSON value, None where there is none. text: "" where a place in it has no column of its own.

    raw: its bytes without their end.
    """

    number: int
    raw: bytes
    text: str
    data: object = None
    faults: tuple[LineFault, ...] = ()
    is_blank: bool = False


def read_lines(lines: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a file, with or without their ends, as values and faults.

    A JSON array, pretty-printed values and several values on a line give a Line for each value. Of a file that is
    CSV or no text only one Line comes, with the fault.
    """
    numbered = enumerate(_unframed(lines), 1)
    is_first, has_crlf = True, False
    for number, (raw, ending) in numbered:
        faults: list[LineFault] = []
        if number == 1:
            other = _not_text(raw)
            if other is not None:
                yield Line(1, raw, "", faults=(other,))
                return
        body = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if len(body) != len(raw):
            faults.append(LineFault("F010", 1, "the file begins with a byte-order mark"))
        if ending == b"\r\n" and not has_crlf:
            has_crlf = True
            faults.append(LineFault("F011", 1, "lines end in CRLF; here for the first time"))
        if not body.strip():
            faults.append(LineFault("F006", 1, "the line is blank"))
            yield Line(number, raw, "", faults=tuple(faults), is_blank=True)
            continue
        if is_first:
            is_first = False
            whole = _whole_file(number, body, (line for _, (line, _) in numbered))
            if whole is not None:
                first = next(whole)
                yield Line(number, first.raw, first.text, first.data, (*faults, *first.faults))
                yield from whole
                return
        yield from _line(number, body, faults)


def _unframed(lines: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for line in lines:
        if line.endswith(b"\r\n"):
            yield line[:-2], b"\r\n"
        elif line.endswith(b"\n"):
            yield line[:-1], b"\n"
        else:
            yield line, b""


def _not_text(raw: bytes) -> LineFault | None:
    for magic, name in _MAGIC:
        if raw.startswith(magic):
            return LineFault("F013", 1, f"this is {name}, not JSONL in UTF-8")
    return None


def _line(number: int, raw: bytes, faults: list[LineFault]) -> Iterator[Line]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as fault:
        column = len(raw[: fault.start].decode("utf-8", "replace")) + 1
        faults.append(LineFault("F001", column, f"byte 0x{raw[fault.start]:02x} is not UTF-8 here"))
        yield Line(number, raw, "", faults=tuple(faults))
        return
    decoded = decode(text)
    if decoded.fault is not None:
        yield from _mended(number, raw, text, decoded, faults)
        return
    yield Line(number, raw, text, decoded.data, (*faults, *_oddities(text, decoded)))


def _oddities(text: str, decoded: Decoded) -> Iterator[LineFault]:
    for column, key in decoded.doubled:
        yield LineFault("F009", column, f"the key {key!r} stands twice in one object; readers keep one of them")
    if decoded.constant is not None:
        column = text.find(decoded.constant) + 1
        yield LineFault("R009", column, f"{decoded.constant} is no JSON number")
    odd = lone_surrogate(text, decoded.data)
    if odd is not None:
        yield LineFault("R008", *odd)
    if not isinstance(decoded.data, dict):
        kind = "an array" if isinstance(decoded.data, list) else "a bare value"
        yield LineFault("R002", 1, f"the line is {kind}; a row must be a JSON object")


def _mended(number: int, raw: bytes, text: str, decoded: Decoded, faults: list[LineFault]) -> Iterator[Line]:
    """A line that is no JSON: as what it was meant, where that is plain."""
    column, message = decoded.fault or (1, "")
    bare = text.rstrip()
    if bare.endswith(","):
        without = decode(bare[:-1])
        if without.fault is None:
            faults.append(LineFault("R005", len(bare), "a comma follows the row; rows of JSONL have none between them"))
            yield Line(number, raw, bare[:-1], without.data, (*faults, *_oddities(bare[:-1], without)))
            return
    several = _several(text) if message.startswith("Extra data") else []
    if several:
        faults.append(LineFault("R026", column, f"{len(several)} JSON values stand on one line"))
        for value in several:
            yield Line(number, raw, "", value, tuple(faults))
            faults = []
        return
    literal = _python(bare)
    if literal is not None:
        if _PYTHON.search(bare):
            faults.append(LineFault("R004", 1, "this is a Python dict, not JSON: strings need double quotes"))
        else:
            faults.append(LineFault("R005", column, "a comma stands before a closing bracket"))
        yield Line(number, raw, "", literal, tuple(faults))
        return
    if column > len(bare) or message.startswith("Unterminated"):
        message = f"the line is cut off: {message}"
    faults.append(LineFault("R001", column, f"not JSON: {message}"))
    yield Line(number, raw, "", faults=tuple(faults))


def _several(text: str) -> list[object]:
    decoder = json.JSONDecoder()
    at, found = 0, []
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            found.append(value)
            at = len(text) - len(text[at:].lstrip())
    except (ValueError, RecursionError):
        return []
    return found if all(isinstance(value, dict) for value in found) else []


def _python(text: str) -> object | None:
    if not text.startswith("{") or len(text) > MOST_PYTHON or "\0" in text:
        return None
    try:
        value = ast.literal_eval(text)
        # What JSON has no form for (sets, bytes, numbers as keys) is no row in another spelling.
        return json.loads(json.dumps(value)) if isinstance(value, dict) else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _whole_file(number: int, first: bytes, rest: Iterator[bytes]) -> Iterator[Line] | None:
    """The rows of a file whose lines are not its rows; None for one whose first line looks like a row."""
    bare = first.strip()
    if bare[:1] in {b"{", b"["}:
        spread = bare in {b"{", b"["} or (bare[:1] == b"[" and decode(bare.decode("utf-8", "replace")).fault)
        if not spread and bare[:1] == b"{":
            return None
        return _spread(number, first, rest if spread else iter(()), rest)
    if b"," in bare or b"\t" in bare or b";" in bare:
        fault = LineFault(
            "F012", 1, "this looks like CSV; a training file is JSONL (`gateway datasets build` reads CSV)"
        )
        return iter((Line(number, first, "", faults=(fault,)),))
    return None


def _spread(number: int, first: bytes, inside: Iterator[bytes], after: Iterator[bytes]) -> Iterator[Line]:
    held = bytearray(first)
    for line in inside:
        held += b"\n" + line
        if len(held) > MOST_HELD:
            fault = LineFault("F007", 1, "JSON spread over lines, and too long to be read whole; write a row a line")
            yield Line(number, first, "", faults=(fault,))
            return
    kind = "a JSON array" if first.lstrip()[:1] == b"[" else "pretty-printed JSON"
    shape = LineFault("F007", 1, f"the file is {kind}, not JSONL: each row must be one line")
    try:
        text = held.decode("utf-8")
    except UnicodeDecodeError as fault:
        wrong = LineFault("F001", 1, f"byte 0x{held[fault.start]:02x} is not UTF-8 here")
        yield Line(number + held.count(b"\n", 0, fault.start), first, "", faults=(shape, wrong))
        return
    yield from _values(number, text, shape)
    for later, line in enumerate(after, number + 1 + held.count(b"\n")):
        if line.strip():
            yield from _line(later, line, [])


def _values(number: int, text: str, shape: LineFault) -> Iterator[Line]:
    decoder = json.JSONDecoder()
    faults: tuple[LineFault, ...] = (shape,)
    at = 0
    while True:
        at = len(text) - len(text[at:].lstrip(" \t\r\n,[]")) if at < len(text) else at
        if at >= len(text):
            break
        line = number + text.count("\n", 0, at)
        try:
            value, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError) as fault:
            where, column = (fault.lineno, fault.colno) if isinstance(fault, json.JSONDecodeError) else (1, 1)
            wrong = LineFault("R001", column, "not JSON: the value cannot be read")
            yield Line(number + where - 1, b"", "", faults=(*faults, wrong))
            return
        if not isinstance(value, dict):
            faults = (*faults, LineFault("R002", 1, "a row must be a JSON object"))
        yield Line(line, b"", "", value, faults)
        faults = ()
    if faults:
        yield Line(number, b"", "", faults=faults)
