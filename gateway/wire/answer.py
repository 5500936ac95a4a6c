"""A whole reply of our own, in the shape of the endpoint that was asked."""

import time
from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.core.ids import new_id

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
Json = dict[str, Any]


def own_answer(call: Call, text: str, gateway: Json) -> tuple[bytes, bytes]:
    """Content type and bytes of an assistant's reply that says `text`; it used no tokens."""
    if call.endpoint == "responses":
        return _responses(call, text, gateway)
    return _chat(call, text, gateway)


def _chat(call: Call, text: str, gateway: Json) -> tuple[bytes, bytes]:
    head: Json = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": call.model}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if not call.stream:
        message: Json = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        body = {**head, "object": "chat.completion", "choices": [choice], "usage": usage, "gateway": gateway}
        return JSON, msgspec.json.encode(body)
    head["object"] = "chat.completion.chunk"
    deltas: list[tuple[Json, str | None]] = [({"role": "assistant", "content": text}, None), ({}, "stop")]
    chunks: list[Json] = [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    chunks[0]["gateway"] = gateway
    if call.include_usage:
        chunks.append({**head, "choices": [], "usage": usage})
    return EVENTS, b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def _responses(call: Call, text: str, gateway: Json) -> tuple[bytes, bytes]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    details = {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    response: Json = {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": call.model,
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": None,
        "top_p": None,
        "usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, **details},
        "gateway": gateway,
    }
    if not call.stream:
        return JSON, msgspec.json.encode(response)
    return EVENTS, b"".join(_response_events(response, item, part))


def _response_events(response: Json, item: Json, part: Json) -> list[bytes]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    where = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    empty = {**part, "text": ""}
    told: list[tuple[str, Json]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        (
            "response.output_item.added",
            {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
        ),
        ("response.content_part.added", {**where, "part": empty}),
        ("response.output_text.delta", {**where, "delta": part["text"], "logprobs": []}),
        ("response.output_text.done", {**where, "text": part["text"], "logprobs": []}),
        ("response.content_part.done", {**where, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": response}),
    ]
    return [
        b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, "sequence_number": n, **event}))
        for n, (kind, event) in enumerate(told)
    ]
