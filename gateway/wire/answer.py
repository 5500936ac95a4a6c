"""A whole reply of our own, in the shape of the endpoint that was asked."""

import time
from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.core.ids import new_id

JSON = b"application/json"
EVENTS = b"text/event-stream; charset=utf-8"
Json = dict[str, Any]


def own_answer(call: Call, text: str, gateway: Json, search: Json | None = None) -> tuple[bytes, bytes]:
    """Content type and bytes of an assistant's reply that says `text`; it used no tokens.

    To a call that wants JSON it is said as a refusal, which is not read as JSON. search: a `file_search_call` to stand
    before it in a response.
    """
    if call.endpoint == "responses":
        return _responses(call, text, gateway, search)
    return _chat(call, text, gateway)


def _chat(call: Call, text: str, gateway: Json) -> tuple[bytes, bytes]:
    head: Json = {"id": new_id("chatcmpl"), "created": int(time.time()), "model": call.model}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if not call.stream:
        said = {"content": None, "refusal": text} if call.wants_json else {"content": text, "refusal": None}
        message: Json = {"role": "assistant", **said, "annotations": []}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        body = {**head, "object": "chat.completion", "choices": [choice], "usage": usage, "gateway": gateway}
        return JSON, msgspec.json.encode(body)
    head["object"] = "chat.completion.chunk"
    word = "refusal" if call.wants_json else "content"
    deltas: list[tuple[Json, str | None]] = [({"role": "assistant", word: text}, None), ({}, "stop")]
    chunks: list[Json] = [
        {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
        for delta, reason in deltas
    ]
    chunks[0]["gateway"] = gateway
    if call.include_usage:
        chunks.append({**head, "choices": [], "usage": usage})
    return EVENTS, b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def _responses(call: Call, text: str, gateway: Json, search: Json | None) -> tuple[bytes, bytes]:
    part: Json = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    if call.wants_json:
        part = {"type": "refusal", "refusal": text}
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
        "output": [item] if search is None else [search, item],
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
    return EVENTS, b"".join(_response_events(response, item, part, search))


def _response_events(response: Json, item: Json, part: Json, search: Json | None) -> list[bytes]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    place = 0 if search is None else 1
    where = {"item_id": item["id"], "output_index": place, "content_index": 0}
    word = "refusal" if "refusal" in part else "text"
    kind = "response.refusal" if word == "refusal" else "response.output_text"
    more: Json = {} if word == "refusal" else {"logprobs": []}
    told: list[tuple[str, Json]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        *(search_events(search) if search is not None else ()),
        (
            "response.output_item.added",
            {"output_index": place, "item": {**item, "status": "in_progress", "content": []}},
        ),
        ("response.content_part.added", {**where, "part": {**part, word: ""}}),
        (f"{kind}.delta", {**where, "delta": part[word], **more}),
        (f"{kind}.done", {**where, word: part[word], **more}),
        ("response.content_part.done", {**where, "part": part}),
        ("response.output_item.done", {"output_index": place, "item": item}),
        ("response.completed", {"response": response}),
    ]
    return [
        b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, "sequence_number": n, **event}))
        for n, (kind, event) in enumerate(told)
    ]


def search_events(search: Json) -> list[tuple[str, Json]]:
    """The events of a `file_search_call` that is done, as the first item of a response's output."""
    begun = {**search, "status": "in_progress", "queries": [], "results": None}
    where = {"output_index": 0, "item_id": search["id"]}
    return [
        ("response.output_item.added", {"output_index": 0, "item": begun}),
        *((f"response.file_search_call.{step}", where) for step in ("in_progress", "searching", "completed")),
        ("response.output_item.done", {"output_index": 0, "item": search}),
    ]
