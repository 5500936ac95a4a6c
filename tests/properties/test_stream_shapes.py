"""A stream whose usage we asked for reaches the caller as if nobody had asked, however its bytes arrive."""

import json
import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.sse import UsageStrip, UsageTap

USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
NASTY = (
    'the text "usage":null inside',
    "\n\ndata: [DONE]\n\n",
    ',"usage":null}\n\n',
    '{"usage": {"prompt_tokens": 1}}',
    "\r\n\r\n",
    "é🏔️\u2028",
    "",
)


def dumps(value: object, *, compact: bool) -> str:
    return json.dumps(value, separators=(",", ":") if compact else None, ensure_ascii=False)


class Shape:
    """One way in which an upstream writes a stream: the same with usage and without."""

    def __init__(
        self,
        *,
        compact: bool = True,
        end: str = "\n\n",
        null: str = "last",
        done: bool = True,
        on_choice: bool = False,
        comment: bool = False,
        named: bool = False,
        usage_first: bool = False,
    ) -> None:
        self.compact = compact
        self.end = end
        self.null = null
        self.done = done
        self.on_choice = on_choice
        self.comment = comment
        self.named = named
        self.usage_first = usage_first

    def deltas(self) -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": ""}
        for text in NASTY:
            yield {"content": text}
        yield {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"usage":null}'}}]}
        yield {"usage": None, "content": "a delta with a usage of its own"}

    def written(self, *, usage: bool) -> bytes:
        events = []
        for delta in self.deltas():
            events.append(self.event({"index": 0, "delta": delta, "finish_reason": None}, None, usage=usage))
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        events.append(self.event(last, USAGE if self.on_choice else None, usage=usage))
        if usage and not self.on_choice:
            events.append(self.framed({**HEAD, "choices": [], "usage": USAGE}))
        if self.comment:
            events.insert(2, ": keep-alive" + self.end)
            events.insert(5, ': "usage"' + self.end)
        if self.done:
            events.append("data: [DONE]" + self.end)
        return "".join(events).encode()

    def event(self, choice: dict[str, Any], found: object, *, usage: bool) -> str:
        body: dict[str, Any] = {**HEAD, "choices": [choice]}
        if usage and self.null != "absent":
            body = {"usage": found, **body} if self.usage_first else {**body, "usage": found}
        if self.null == "before obfuscation":
            body["obfuscation"] = "abcd"
        return self.framed(body)

    def framed(self, body: dict[str, Any]) -> str:
        line = self.end[: len(self.end) // 2]
        name = f"event: chunk{line}" if self.named else ""
        return f"{name}data: {dumps(body, compact=self.compact)}{self.end}"


SHAPES = {
    "openai": Shape(),
    "openai with obfuscation": Shape(null="before obfuscation"),
    "no nulls": Shape(null="absent"),
    "usage on the last choice": Shape(on_choice=True),
    "python's spaces": Shape(compact=False),
    "python's spaces, usage on the last choice": Shape(compact=False, on_choice=True),
    "windows lines": Shape(end="\r\n\r\n"),
    "windows lines with spaces": Shape(end="\r\n\r\n", compact=False, null="before obfuscation"),
    "comments": Shape(comment=True),
    "no done": Shape(done=False),
    "named events": Shape(named=True),
    "usage first": Shape(usage_first=True),
    "usage first with spaces": Shape(usage_first=True, compact=False),
}


def stripped(stream: bytes, cuts: list[int]) -> tuple[bytes, UsageStrip]:
    strip = UsageStrip()
    edges = [0, *cuts, len(stream)]
    out = [strip.feed(stream[a:b]) for a, b in pairwise(edges)]
    return b"".join([*out, strip.finish()]), strip


def check(shape: Shape, cuts: list[int]) -> None:
    out, strip = stripped(shape.written(usage=True), cuts)
    assert out == shape.written(usage=False)
    assert strip.usage is not None
    assert (strip.usage.input_tokens, strip.usage.output_tokens, strip.usage.cached_tokens) == (9, 5, 4)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_cut_at_any_one_place_the_stream_is_as_if_nobody_had_asked(shape: Shape) -> None:
    for cut in range(len(shape.written(usage=True)) + 1):
        check(shape, [cut])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1 << 20])
def test_cut_into_pieces_of_any_size_too(shape: Shape, size: int) -> None:
    check(shape, list(range(size, len(shape.written(usage=True)), size)))


@given(st.sampled_from(list(SHAPES)), st.randoms(use_true_random=False), st.integers(2, 40))
def test_cut_at_any_places_too(name: str, chance: random.Random, count: int) -> None:
    length = len(SHAPES[name].written(usage=True))
    check(SHAPES[name], sorted(chance.randrange(length) for _ in range(count)))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_who_asked_for_usage_gets_each_read_as_it_came_and_we_read_it_too(shape: Shape, size: int) -> None:
    stream = shape.written(usage=True)
    tap = UsageTap()
    for at in range(0, len(stream), size):
        piece = stream[at : at + size]
        assert tap.feed(piece) is piece
    assert tap.finish() == b""
    assert tap.usage is not None
    assert (tap.usage.input_tokens, tap.usage.output_tokens) == (9, 5)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_garbage_passes_and_raises_nothing(pieces: list[bytes]) -> None:
    """An upstream may say anything; what is not understood is the caller's to see."""
    tap, strip = UsageTap(), UsageStrip()
    assert b"".join(map(tap.feed, pieces)) + tap.finish() == b"".join(pieces)
    out = b"".join(map(strip.feed, pieces)) + strip.finish()
    if b'"usage"' not in b"".join(pieces):
        assert out == b"".join(pieces)


FRAGMENTS = (
    *(
        b'data: {"choices":[',
        b'],"usage":',
        b"null",
        b'{"prompt_tokens":3}',
        b"}",
        b"\n\n",
        b"\r\n\r\n",
        b"\n",
        b"data:",
    ),
    *(b': "usage"', b'"usage": ', b'{"usage":{"usage":null}}', b"data: [DONE]", b"\xff", b'"', b",", b"[" * 3_000),
)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25), st.integers(1, 9))
def test_almost_usage_in_any_order_raises_nothing(fragments: list[bytes], size: int) -> None:
    stream = b"".join(fragments)
    strip, tap = UsageStrip(), UsageTap()
    out = b""
    for at in range(0, len(stream), size):
        out += strip.feed(stream[at : at + size])
        tap.feed(stream[at : at + size])
    out += strip.finish()
    tap.finish()
    assert len(out) <= len(stream) + 2 * stream.count(b"\xff")
