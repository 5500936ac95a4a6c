"""Both editors give the same for every cut of a stream, and raise for nothing that an upstream may say."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.context import build_context
from gateway.paths.cited_chat import ChatEditor
from gateway.paths.cited_responses import ResponsesEditor
from gateway.paths.sources import CitedSources
from tests.fakes.calls import hit

Editor = ChatEditor | ResponsesEditor
KINDS: list[type[Editor]] = [ChatEditor, ResponsesEditor]
WORDS = st.sampled_from(
    ["[", "1", "2", "]", "[1]", " [2]", "[9]", " ", "`", "\n", "Zürich", "🏔️", "[1, 2]", ",", "【1】"]
)
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "type",
                        "choices",
                        "delta",
                        "content",
                        "finish_reason",
                        "index",
                        "message",
                        "annotations",
                        "text",
                    ),
                    *("output", "item", "part", "response", "item_id", "content_index", "sequence_number", "usage"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TYPES = st.sampled_from(
    [
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
        7,
        [],
    ]
)
CHOICE = st.fixed_dictionaries(
    {},
    optional={
        "index": ANY,
        "delta": ANY | st.fixed_dictionaries({"content": WORDS | ANY}),
        "message": ANY | st.fixed_dictionaries({"content": WORDS | ANY}, optional={"annotations": ANY}),
        "finish_reason": ANY,
    },
)
EVENT = (
    ANY
    | st.fixed_dictionaries({"choices": st.lists(CHOICE | ANY, max_size=3)}, optional={"usage": ANY})
    | st.fixed_dictionaries(
        {"type": TYPES},
        optional=dict.fromkeys(
            ("delta", "text", "part", "item", "response", "sequence_number", "item_id", "output"), ANY
        ),
    )
)


def editor(kind: type[Editor]) -> Editor:
    context = build_context([hit("Ten days."), hit("By card.", "payment.md", 0.8)], 1_000)
    return kind(CitedSources("dec_1", context.sources))


def played(kind: type[Editor], stream: bytes, size: int) -> bytes:
    made = editor(kind)
    return b"".join(made.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + made.finish()


@pytest.mark.parametrize("kind", KINDS)
@given(events=st.lists(EVENT, max_size=5), size=st.integers(1, 50))
def test_whatever_an_upstream_says_it_is_passed_on(kind: type[Editor], events: list[Any], size: int) -> None:
    stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    assert played(kind, stream, size) == played(kind, stream, len(stream) + 1)


@pytest.mark.parametrize("kind", KINDS)
@given(body=EVENT)
def test_whatever_a_whole_reply_says_it_is_passed_on(kind: type[Editor], body: Any) -> None:
    written = json.dumps(body).encode()
    out = editor(kind).whole(written)
    if not isinstance(body, dict):
        assert out == written


@pytest.mark.parametrize("kind", KINDS)
@given(pieces=st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes_are_passed_on(kind: type[Editor], pieces: list[bytes]) -> None:
    made = editor(kind)
    assert b"".join(map(made.feed, pieces)) + made.finish() == b"".join(pieces)


@given(words=st.lists(WORDS, max_size=12), size=st.integers(1, 60), together=st.booleans())
def test_a_streamed_answer_says_what_the_whole_one_says(*, words: list[str], size: int, together: bool) -> None:
    """Text and citations are the same whether the model's words come at once, in pieces, or with the end."""
    *first, last = [*words, ""] if not together else [*words, "!"]
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": word}, None) for word in first]
    deltas += [({"content": last}, "stop")] if together else [({}, "stop")]
    stream = b"".join(
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": end}]}).encode() + b"\n\n"
        for delta, end in deltas
    )
    text, found = "", []
    for piece in played(ChatEditor, stream, size).decode().split("\n\n")[:-1]:
        for choice in json.loads(piece.removeprefix("data: "))["choices"]:
            text += choice["delta"].get("content") or ""
            found += [one["url_citation"] for one in choice["delta"].get("annotations", [])]
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "".join([*first, last])}}]}
    whole = json.loads(editor(ChatEditor).whole(json.dumps(body).encode()))["choices"][0]["message"]
    assert text == whole["content"]
    assert found == [one["url_citation"] for one in whole["annotations"]]
    assert all(text[one["start_index"]] in "[【" for one in found)
