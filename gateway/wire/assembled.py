"""One call as chat would write it: what was asked and the whole answer, whichever endpoint it came by, streamed or not.

A Responses call is written down as chat too, so that whoever keeps, trains on or replays calls knows one form.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.core.values import Value
from gateway.wire.sse import events, payload
from gateway.wire.usage import UNREADABLE

_any = msgspec.json.Decoder()
ENDPOINTS = frozenset({"chat", "responses"})
# A response's status as chat says it.
ENDED = {"completed": "stop", "incomplete": "length", "failed": "error", "cancelled": "error"}
LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class Exchanged(Value, frozen=True):
    """messages, tools, response_format, answer: JSON in chat's form; tools and response_format "" for none.

    answer: the assistant's message of the first choice. text: of it. finish_reason: "" when the reply has no end.
    response_id: of the reply, "" for none.
    """

    messages: str
    answer: str
    text: str
    finish_reason: str
    tools: str = ""
    response_format: str = ""
    response_id: str = ""


def exchanged(endpoint: str, request: bytes, reply: bytes) -> Exchanged | None:
    """The exchange; None for an endpoint that has none, and where no answer can be read."""
    if endpoint not in ENDPOINTS:
        return None
    try:
        asked = _any.decode(request)
        told = _whole(endpoint, reply)
    except UNREADABLE:
        return None
    if not isinstance(asked, dict) or not isinstance(told, dict):
        return None
    found = _of_chat(told) if endpoint == "chat" else _of_response(told)
    if found is None:
        return None
    message, finish_reason = found
    messages = asked.get("messages") if endpoint == "chat" else list(_as_messages(asked))
    form = asked.get("response_format") if endpoint == "chat" else _format(asked.get("text"))
    tools = asked.get("tools") if endpoint == "chat" else _as_tools(asked.get("tools"))
    identity = told.get("id")
    return Exchanged(
        messages=_text(messages or []),
        answer=_text(message),
        text=content_text(message.get("content")),
        finish_reason=finish_reason,
        tools=_text(tools) if tools else "",
        response_format=_text(form) if form else "",
        response_id=identity if isinstance(identity, str) else "",
    )


def content_text(content: Any) -> str:
    """A message's content as text: the parts that are text, one after the other."""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in _objects(content))


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _whole(endpoint: str, reply: bytes) -> Any:
    """The reply as if it had not been streamed."""
    if reply.lstrip()[:1] == b"{":
        return _any.decode(reply)
    told = list(_events(reply))
    if endpoint == "responses":
        return next((one.get("response") for one in reversed(told) if one.get("type") in LAST_EVENTS), None)
    return _assembled(told)


def _events(reply: bytes) -> Iterator[dict[str, Any]]:
    for event in events(reply):
        data = payload(event)
        if not data or data == b"[DONE]":
            continue
        try:
            found = _any.decode(data)
        except UNREADABLE:
            continue
        if isinstance(found, dict):
            yield found


def _assembled(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """A chat completion of its chunks."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    identity, ended = "", ""
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        identity = identity or str(chunk.get("id") or "")
        for choice in _objects(chunk.get("choices")):
            if choice.get("index", 0) != 0:
                continue
            ended = choice.get("finish_reason") or ended
            delta = choice.get("delta")
            _add(message, calls, delta if isinstance(delta, dict) else {})
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return {"id": identity, "choices": [{"index": 0, "message": message, "finish_reason": ended}]}


def _add(message: dict[str, Any], calls: dict[int, dict[str, Any]], delta: dict[str, Any]) -> None:
    for key in ("content", "refusal"):
        if isinstance(delta.get(key), str):
            message[key] = (message.get(key) or "") + delta[key]
    for part in _objects(delta.get("tool_calls")):
        given = part.get("function")
        function: dict[str, Any] = given if isinstance(given, dict) else {}
        empty = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call = calls.setdefault(int(part.get("index") or 0), empty)
        call["id"] = call["id"] or str(part.get("id") or "")
        for key in ("name", "arguments"):
            call["function"][key] += str(function.get(key) or "")


def _of_chat(reply: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    choices = _objects(reply.get("choices"))
    if not choices or not isinstance(choices[0].get("message"), dict):
        return None
    told = choices[0]["message"]
    message: dict[str, Any] = {"role": "assistant", "content": told.get("content")}
    message |= {key: told[key] for key in ("refusal", "tool_calls", "function_call") if told.get(key)}
    return message, str(choices[0].get("finish_reason") or "")


def _of_response(reply: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    if "output" not in reply:
        return None
    text, calls = "", []
    for item in _objects(reply["output"]):
        if item.get("type") == "message":
            text += content_text(item.get("content"))
        elif item.get("type") == "function_call":
            calls.append(_as_call(item))
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    ended = ENDED.get(str(reply.get("status")), "")
    if calls:
        message["tool_calls"] = calls
        ended = "tool_calls" if ended == "stop" else ended
    return message, ended


def _as_call(item: dict[str, Any]) -> dict[str, Any]:
    function = {"name": str(item.get("name") or ""), "arguments": str(item.get("arguments") or "")}
    return {"id": str(item.get("call_id") or ""), "type": "function", "function": function}


def _as_messages(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A Responses request's instructions and input as chat messages."""
    if isinstance(asked.get("instructions"), str):
        yield {"role": "system", "content": asked["instructions"]}
    given = asked.get("input")
    if isinstance(given, str):
        yield {"role": "user", "content": given}
    for item in _objects(given):
        kind = item.get("type") or "message"
        if kind == "message":
            yield {"role": str(item.get("role") or "user"), "content": content_text(item.get("content"))}
        elif kind == "function_call":
            yield {"role": "assistant", "content": None, "tool_calls": [_as_call(item)]}
        elif kind == "function_call_output":
            output = item.get("output")
            text = output if isinstance(output, str) else content_text(output)
            yield {"role": "tool", "tool_call_id": str(item.get("call_id") or ""), "content": text}


def _as_tools(tools: Any) -> list[dict[str, Any]]:
    """Functions as chat has them; tools that a provider runs itself are no part of an example."""
    kept = ("name", "description", "parameters", "strict")
    return [
        {"type": "function", "function": {key: tool[key] for key in kept if tool.get(key) is not None}}
        for tool in _objects(tools)
        if tool.get("type") == "function"
    ]


def _format(text: Any) -> Any:
    form = text.get("format") if isinstance(text, dict) else None
    if not isinstance(form, dict) or form.get("type") in {None, "text"}:
        return None
    if form["type"] != "json_schema":
        return {"type": form["type"]}
    return {"type": "json_schema", "json_schema": {key: value for key, value in form.items() if key != "type"}}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
