"""JSON values of an export, whole or a line each; and text out of what may be HTML."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from bs4 import BeautifulSoup

from gateway.core.errors import BadConfiguration
from gateway.tuning.datasets.jsonl import read_lines
from gateway.tuning.datasets.rows import is_object

MOST_FAULTS = 50
# Faults of a line's form that leave its value plain.
HARMLESS = frozenset({"F006", "F007", "F010", "F011", "R002", "R005", "R026"})
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,2000}>")


def objects(path: Path, holder: str = "") -> Iterator[tuple[int, Mapping[str, object]]]:
    """(line, object) of a JSON or JSONL file. holder: a key under which a JSON export lists them, such as `tickets`.

    Raises BadConfiguration with the first fifty faults, after the objects that could be read.
    """
    faults: list[str] = []
    try:
        with path.open("rb") as file:
            for line in read_lines(file):
                wrong = [fault for fault in line.faults if fault.code not in HARMLESS]
                if wrong or (line.data is None and not line.is_blank and not line.faults):
                    faults += [f"{path}:{line.number}:{fault.column}: {fault.message}." for fault in wrong]
                    continue
                for value in _listed(line.data, holder):
                    if is_object(value):
                        yield line.number, value
    except OSError as fault:
        raise BadConfiguration([f"{path}: cannot be read ({fault.strerror})."]) from None
    if faults:
        raise BadConfiguration(faults[:MOST_FAULTS])


def _listed(value: object, holder: str) -> list[object]:
    if isinstance(value, list):
        return value
    if is_object(value) and holder:
        inner = value.get(holder)
        if isinstance(inner, list):
            return inner
    return [value]


def plain(value: object) -> str:
    """A text without its markup; "" for what is none."""
    if not isinstance(value, str):
        return ""
    if not _TAG.search(value):
        return value.strip()
    soup = BeautifulSoup(value, "html.parser")
    for line_break in soup.find_all(["br", "p", "div", "li"]):
        line_break.append("\n")
    return re.sub(r"\n{3,}", "\n\n", soup.get_text()).strip()


def name(value: object) -> str:
    """An id or a word as text; "" for what is none."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def first(holder: Mapping[str, object], *keys: str) -> object:
    """The value of the first of these keys that has one."""
    return next((holder[key] for key in keys if holder.get(key) is not None and holder[key] != ""), None)


def compact(value: object) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
