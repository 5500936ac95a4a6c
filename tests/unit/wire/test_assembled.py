"""One form for every call: chat and responses, streamed and whole, give the same exchange."""

import json
from typing import Any

import pytest

from gateway.wire.assembled import Exchanged, exchanged

CHAT = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    "response_format": {"type": "json_object"},
}
RESPONSES = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
    "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}, {"type": "web_search"}],
    "text": {"format": {"type": "json_object"}},
}


def sse(*events: Any) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any], ended: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "choices": [{"index": index, "delta": delta, "finish_reason": ended}]}


def asked(endpoint: str, request: Any, reply: bytes) -> Exchanged:
    found = exchanged(endpoint, json.dumps(request).encode(), reply)
    assert found is not None
    return found


def whole(message: dict[str, Any], ended: str = "stop") -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": ended}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice]}).encode()


def test_a_stream_is_the_whole_reply_in_pieces() -> None:
    streamed = sse(chunk({"role": "assistant", "content": "Hel"}), chunk({"content": "lo."}), chunk({}, "stop"))
    told = asked("chat", CHAT, streamed)
    assert told == asked("chat", CHAT, whole({"role": "assistant", "content": "Hello."}))
    assert (told.text, told.finish_reason, told.response_id) == ("Hello.", "stop", "chatcmpl-1")
    assert json.loads(told.messages) == CHAT["messages"]
    assert json.loads(told.response_format) == {"type": "json_object"}


def test_tool_calls_are_put_together_from_their_pieces() -> None:
    def part(**more: Any) -> dict[str, Any]:
        return chunk({"tool_calls": [more]})

    streamed = sse(
        part(index=0, id="c1", function={"name": "look", "arguments": '{"a"'}),
        part(index=1, id="c2", function={"name": "look", "arguments": "{}"}),
        part(index=0, function={"arguments": ":1}"}),
        chunk({}, "tool_calls"),
    )
    calls = json.loads(asked("chat", CHAT, streamed).answer)["tool_calls"]
    assert [(one["id"], one["function"]["arguments"]) for one in calls] == [("c1", '{"a":1}'), ("c2", "{}")]


def test_a_response_is_written_down_as_chat() -> None:
    output = [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": "Hello."}]},
    ]
    reply = {"id": "resp_1", "status": "completed", "output": output}
    told = asked("responses", RESPONSES, json.dumps(reply).encode())
    assert json.loads(told.messages) == CHAT["messages"]
    assert json.loads(told.tools) == CHAT["tools"]
    assert (told.text, told.finish_reason, told.response_id) == ("Hello.", "stop", "resp_1")
    assert told == asked("responses", RESPONSES, sse({"type": "response.completed", "response": reply}))


def test_what_a_response_called_and_got_back_becomes_messages() -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
    given = [{"role": "user", "content": "Hi"}, call, {"type": "function_call_output", "call_id": "c1", "output": "5"}]
    reply = {"id": "resp_1", "status": "completed", "output": [call]}
    told = asked("responses", {"model": "m", "input": given}, json.dumps(reply).encode())
    assert [one["role"] for one in json.loads(told.messages)] == ["user", "assistant", "tool"]
    assert told.finish_reason == "tool_calls"
    assert json.loads(told.answer)["tool_calls"][0]["function"]["name"] == "look"


@pytest.mark.parametrize("reply", [b"", b"not json", b"{}", b'{"error":{}}', b"data: {\n\n", b"[]"])
@pytest.mark.parametrize("endpoint", ["chat", "responses"])
def test_a_reply_without_an_answer_is_no_exchange(endpoint: str, reply: bytes) -> None:
    request = CHAT if endpoint == "chat" else RESPONSES
    found = exchanged(endpoint, json.dumps(request).encode(), reply)
    assert found is None or not found.finish_reason


def test_a_stream_that_broke_off_has_no_end() -> None:
    assert asked("chat", CHAT, sse(chunk({"content": "Hel"}))).finish_reason == ""
