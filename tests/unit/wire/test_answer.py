import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.wire.answer import own_answer
from tests.fakes.calls import chat, read

NOTE: dict[str, Any] = {"decision_id": "dec_1", "sources": [], "grounding": None}


def events(body: bytes) -> list[str]:
    pieces = body.decode().split("\n\n")
    assert pieces.pop() == ""
    return [line[6:] for piece in pieces for line in piece.split("\n") if line.startswith("data: ")]


def test_a_chat_completion_of_our_own_is_one() -> None:
    kind, body = own_answer(chat(), "I do not know.", NOTE)
    told = ChatCompletion.model_validate_json(body)
    assert kind == b"application/json"
    assert told.choices[0].message.content == "I do not know."
    assert told.usage is not None
    assert told.usage.total_tokens == 0
    assert json.loads(body)["gateway"] == NOTE


@pytest.mark.parametrize("asks", [True, False])
def test_streamed_it_has_usage_only_for_who_asked(*, asks: bool) -> None:
    call = chat(stream=True, **({"stream_options": {"include_usage": True}} if asks else {}))
    *chunks, done = events(own_answer(call, "No.", NOTE)[1])
    read_back = [ChatCompletionChunk.model_validate_json(chunk) for chunk in chunks]
    assert done == "[DONE]"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in read_back if chunk.choices) == "No."
    assert (read_back[-1].usage is not None) is asks
    assert [chunk.choices[0].finish_reason for chunk in read_back if chunk.choices] == [None, "stop"]


def test_a_response_of_our_own_is_one() -> None:
    body = own_answer(read({"model": "m", "input": "x"}, "/v1/responses"), "No.", NOTE)[1]
    told = Response.model_validate_json(body)
    assert told.output_text == "No."
    assert told.status == "completed"


def test_its_events_are_numbered_without_a_gap() -> None:
    body = own_answer(read({"model": "m", "input": "x", "stream": True}, "/v1/responses"), "No.", NOTE)[1]
    adapter: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
    read_back = [adapter.validate_json(event) for event in events(body)]
    assert [event.sequence_number for event in read_back] == list(range(len(read_back)))
    assert read_back[0].type == "response.created"
    assert read_back[-1].type == "response.completed"
