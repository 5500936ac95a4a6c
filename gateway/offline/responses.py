"""POST /v1/responses."""

import time
import zlib
from collections.abc import Iterator
from typing import Any

from gateway.core.ids import new_id
from gateway.offline.answers import Said, answer_to_format, limited, tool_call
from gateway.offline.requests import Message, ResponsesRequest, prompt_tokens_of, turns_of
from gateway.offline.work import Event, Work, sse


def answer_responses(request: ResponsesRequest, *, with_usage: bool) -> Work:
    """The answer to a Responses call, as an object or as the full sequence of events."""
    messages = _messages(request)
    said = _said(request, messages)
    prompt_tokens = prompt_tokens_of(messages, request.tools)
    frame = _frame(request)
    usage = {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": said.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt_tokens + said.tokens,
    }
    item = _item(said)
    final = {
        **frame,
        "status": "incomplete" if said.cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if said.cut else None,
        "output": [item],
        "usage": usage if with_usage else None,
    }
    work = Work(
        id=frame["id"],
        model=request.model,
        endpoint="/v1/responses",
        prompt_tokens=prompt_tokens,
        completion_tokens=said.tokens,
        whole=final,
    )
    if request.stream:
        events = list(_events(frame, said, item))
        name = f"response.{final['status']}"
        work.ending = sse({"type": name, "response": final, "sequence_number": len(events)}, name)
        work.stream = iter(events)
    return work


def _messages(request: ResponsesRequest) -> list[Message]:
    given = request.input
    messages = [Message(role="user", content=given)] if isinstance(given, str) else given
    if request.instructions is None:
        return messages
    return [Message(role="developer", content=request.instructions), *messages]


def _said(request: ResponsesRequest, messages: list[Message]) -> Said:
    turns = turns_of(messages)
    tools = [
        tool for tool in request.tools or () if tool.get("type") == "function" and isinstance(tool.get("name"), str)
    ]
    call = tool_call(tools, request.tool_choice, turns)
    if call is not None:
        return limited(call.arguments, request.max_output_tokens, (), call)
    wanted = (request.text or {}).get("format")
    text = answer_to_format(request.model, turns, wanted if isinstance(wanted, dict) else None)
    return limited(text, request.max_output_tokens, ())


def _frame(request: ResponsesRequest) -> dict[str, Any]:
    """The response object as it stands at the beginning."""
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": request.previous_response_id,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": request.text or {"format": {"type": "text"}},
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _item(said: Said) -> dict[str, Any]:
    status = "incomplete" if said.cut else "completed"
    if said.tool is None:
        part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        return {
            "id": new_id("msg"),
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [part],
        }
    mark = zlib.crc32(f"{said.tool.name}{said.tool.arguments}".encode())
    return {
        "id": new_id("fc"),
        "type": "function_call",
        "status": status,
        "call_id": f"call_offline{mark:08x}",
        "name": said.tool.name,
        "arguments": said.text,
    }


def _events(frame: dict[str, Any], said: Said, item: dict[str, Any]) -> Iterator[Event]:
    """All events but the last, in OpenAI's order, numbered from 0."""
    body = _text_events(said, item) if said.tool is None else _call_events(said, item)
    empty: dict[str, Any] = {"content": []} if said.tool is None else {"arguments": ""}
    opened = {**item, "status": "in_progress", **empty}
    steps: list[tuple[str, dict[str, Any], int]] = [
        ("response.created", {"response": frame}, 0),
        ("response.in_progress", {"response": frame}, 0),
        ("response.output_item.added", {"output_index": 0, "item": opened}, 0),
        *body,
        ("response.output_item.done", {"output_index": 0, "item": item}, 0),
    ]
    for number, (name, payload, tokens) in enumerate(steps):
        data = sse({"type": name, **payload, "sequence_number": number}, name)
        yield Event(data=data, tokens=tokens)


def _text_events(said: Said, item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], int]]:
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    part = item["content"][0]
    yield "response.content_part.added", {**place, "part": {**part, "text": ""}}, 0
    for piece in said.pieces:
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}, 1
    yield "response.output_text.done", {**place, "text": said.text, "logprobs": []}, 0
    yield "response.content_part.done", {**place, "part": part}, 0


def _call_events(said: Said, item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], int]]:
    place = {"item_id": item["id"], "output_index": 0}
    for piece in said.pieces:
        yield "response.function_call_arguments.delta", {**place, "delta": piece}, 1
    done = {**place, "name": item["name"], "arguments": said.text}
    yield "response.function_call_arguments.done", done, 0
