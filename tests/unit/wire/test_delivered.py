import json
from typing import Any

import pytest

from gateway.wire.delivered import body_text, delivered_text


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_everything_a_model_said_is_counted(size: int) -> None:
    """Arguments of tools and refusals are output tokens as much as content is."""
    whole = stream(
        delta(role="assistant", content="Hel"),
        delta(content="lo"),
        delta(refusal=" no"),
        delta(reasoning_content=" hm"),
        delta(tool_calls=[{"index": 0, "function": {"name": "add", "arguments": '{"a":'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "1}"}}]),
        {"choices": [{"text": " old"}]},
    )
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert delivered_text(chunks) == 'Hello no hm{"a":add1} old'


def test_a_response_counts_its_deltas_once() -> None:
    told = stream(
        {"type": "response.output_text.delta", "delta": "Hel"},
        {"type": "response.output_text.delta", "delta": "lo"},
        {"type": "response.output_text.done", "text": "Hello"},
        {"type": "response.function_call_arguments.delta", "delta": "{}"},
        {"type": "response.completed", "response": {"output": [{"content": [{"text": "Hello"}]}]}},
    )
    assert delivered_text([told]) == "Hello{}"


@pytest.mark.parametrize(
    "garbage", [b"", b"data: {", b"data: 3\n\n", b'data: {"choices":3}\n\n', b"\xff\xfe\n\n", b": ping\n\n"]
)
def test_what_is_not_understood_delivers_nothing(garbage: bytes) -> None:
    assert delivered_text([garbage]) == ""


def test_a_whole_body_is_read_too() -> None:
    assert body_text(b'{"choices":[{"message":{"content":"Hi"}},{"message":{"content":" there"}}]}') == "Hi there"
    assert body_text(b'{"output":[{"content":[{"type":"output_text","text":"Hi"}]}]}') == "Hi"
    assert body_text(b"Hi <b>there</b>") == "Hi <b>there</b>"


def test_reasoning_speech_and_names_of_tools_are_output_too() -> None:
    """A provider bills them, shown or not."""
    stream = (
        b'data: {"choices":[{"delta":{"reasoning":"Hm. "}}]}\n\n'
        b'data: {"choices":[{"delta":{"audio":{"transcript":"Hello. "}}}]}\n\n'
        b'data: {"choices":[{"delta":{"tool_calls":[{"custom":{"name":"sh ","input":"ls "}}]}}]}\n\n'
        b'data: {"choices":[{"delta":{"function_call":{"name":"f","arguments":"{}"}}}]}\n\n'
    )
    assert delivered_text([stream]) == "Hm. Hello. ls sh {}f"


def test_a_responses_stream_counts_a_tools_name_once_and_its_arguments_once() -> None:
    stream = (
        b'data: {"type":"response.output_item.added","item":{"type":"function_call","name":"look","arguments":""}}\n\n'
        b'data: {"type":"response.function_call_arguments.delta","delta":"{}"}\n\n'
        b'data: {"type":"response.function_call_arguments.done","arguments":"{}"}\n\n'
        b'data: {"type":"response.output_item.done","item":{"type":"function_call","name":"look","arguments":"{}"}}\n\n'
    )
    assert delivered_text([stream]) == "look{}"
