"""Markers in an answer that is JSON: gone from its string values, and nothing else is changed, however it is cut."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.cite import clean_markers
from gateway.knowledge.cite_json import JsonScanner

PIECES = [
    "[1]",
    " [2]",
    "[9]",
    "[1, 2]",
    "【1】",
    "[",
    "]",
    "1",
    " ",
    "`",
    "```",
    "\n",
    '"',
    "\\",
    "\\n",
    "ü",
    "🏔️",
    "u005b",
]
WORDS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-12, 12) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def without(value: Any) -> Any:
    if isinstance(value, str):
        return clean_markers(value, 0)[0]
    if isinstance(value, list):
        return [without(one) for one in value]
    return {key: without(one) for key, one in value.items()} if isinstance(value, dict) else value


def said(text: str, size: int) -> tuple[str, list[int], int]:
    scanner = JsonScanner(2)
    given_ = "".join(scanner.feed(text[at : at + size]) for at in range(0, len(text), size)) + scanner.finish()
    return given_, [marker.source_n for marker in scanner.markers], scanner.unknown


@given(value=VALUES, size=st.integers(1, 30), ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_string_values_lose_their_markers_and_nothing_else_changes(
    *, value: Any, size: int, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    found = said(text, size)
    assert json.loads(found[0]) == without(value)
    assert found == said(text, len(text))
    clean = json.dumps(without(value), ensure_ascii=ascii_only, indent=indent)
    assert found[0] == clean


@given(text=WORDS, size=st.integers(1, 10))
def test_what_is_no_json_comes_out_the_same_for_every_cut(text: str, size: int) -> None:
    assert said(text, size) == said(text, len(text) + 1)
