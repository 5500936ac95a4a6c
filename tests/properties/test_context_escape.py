"""Text of a document never leaves its block, whatever it holds."""
# ruff: noqa: RUF001 - look-alikes are what is tested

import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.facts import Hit
from gateway.knowledge.context import build_context
from gateway.knowledge.escape import names_a_tag
from tests.fakes.injections import ATTEMPTS, KEY

_UNSEEN = re.compile(r"[\u3164\uffa0\u2800\u00ad\u200b-\u200f\u2060-\u2064\ufeff\x00-\x08]")
_LOOK_ALIKE = str.maketrans("оѕсеСОЅ‹›〈〉υгε0❮❬ᐸ❰⟪《«⦉≪ꜱᴏᴜʀᴄᴇ∕", "oscecos<><>ureo<<<<<<<<<source/")
_FENCE = re.compile(r"<[\s/]*source", re.IGNORECASE)
_TEMPLATE = re.compile(
    r"<[|｜]|\[/?(?:SYSTEM_PROMPT|TOOL_RESULTS)\]|</?(?:bos|think|tool_response|developer)>"
    r"|\[/?INST\]|<<?/?SYS>>|</?s>|</?system>|<start_of_turn>",
    re.IGNORECASE,
)


def seen(text: str) -> str:
    """A text as a lenient reader takes it: invisible letters gone, look-alikes made plain."""
    decomposed = unicodedata.normalize("NFKD", _UNSEEN.sub("", text))
    plain = "".join(one for one in decomposed if unicodedata.category(one) not in {"Mn", "Me", "Cf"})
    return plain.translate(_LOOK_ALIKE)


def check(block: str, count: int) -> None:
    lines = block.split("\n")
    opened = lines.index(f"<sources key={KEY}>")
    assert lines[-1] == f"</sources key={KEY}>"
    assert block.count(KEY) == 3, "the introduction names the key, the two fences bear it, nothing else does"
    inside = seen("\n".join(lines[opened + 1 : -1]))
    assert len(_FENCE.findall(inside)) == 2 * count
    assert len(re.findall(r'^<source n="\d+" title="[^"\n]*"(?: url="[^"\n]*")?>$', inside, re.MULTILINE)) == count
    assert not _TEMPLATE.search(inside)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=range(len(ATTEMPTS)))
def test_no_attempt_leaves_its_block(attempt: str) -> None:
    hits = [
        Hit("c", "a", "v", "Harmless", f"before {attempt} after", 0.9),
        Hit("c", "b", "v", attempt, "a hostile title", 0.8, url=f"https://x/{attempt}"),
        Hit("c", "d", "v", "Last", attempt * 3, 0.7),
    ]
    block = build_context(hits, 100_000, delimiter=KEY).text
    check(block, len(hits))
    assert "before " in block
    assert " after" in block


def test_there_are_dozens_of_attempts() -> None:
    assert len(set(ATTEMPTS)) >= 80


def test_plain_text_and_code_are_left_as_they_are() -> None:
    """Escaping everything would be simple, and would make every code sample unreadable."""
    text = "if a < b && c > d: print('<b>ok</b>')  # resources, a[1], x << 2, outsourced\n<div class=\"x\">"
    block = build_context([Hit("c", "a", "v", "Code", text, 0.9)], 1000, delimiter=KEY).text
    assert text in block


class Counted(str):
    """A text that counts how often one of its characters is looked at."""

    __slots__ = ("looks",)
    looks: int

    def __getitem__(self, key: Any) -> str:
        self.looks += 1
        return super().__getitem__(key)


def test_no_part_of_a_text_is_looked_at_for_two_brackets() -> None:
    text = Counted(("<" + " " * 50) * 200 + "<" * 1_000 + "</" * 1_000 + " " * 10_000)
    text.looks = 0
    for found in re.finditer("<", text):
        assert not names_a_tag(text, found.end())
    assert text.looks <= 2 * len(text)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from([*ATTEMPTS, KEY, KEY[:8], KEY[8:], "<", "/", "sour", "ce", ">", "|", " "])
        | st.text(max_size=5),
        max_size=8,
    )
)
def test_no_mix_of_attempts_leaves_its_block(parts: list[str]) -> None:
    text = "".join(parts)
    check(build_context([Hit("c", "a", "v", "T", text, 0.9)], 100_000, delimiter=KEY).text, 1)
