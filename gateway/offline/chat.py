"""POST /v1/chat/completions."""

import time
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.core.ids import new_id
from gateway.offline.answers import Said, ToolCall, answer_to_format, limited, tool_call
from gateway.offline.requests import ChatRequest, prompt_tokens_of, stops_of, turns_of
from gateway.offline.work import Event, Work, sse

FINGERPRINT = "fp_offline"


def answer_chat(request: ChatRequest, *, with_usage: bool) -> Work:
    """The answer to a chat completion. with_usage False leaves out every trace of usage."""
    answers = _answers(request)
    prompt_tokens = prompt_tokens_of(request.messages, request.tools)
    completion_tokens = sum(said.tokens for said in answers)
    frame: dict[str, Any] = {
        "id": new_id("chatcmpl").replace("_", "-"),
        "object": "chat.completion.chunk" if request.stream else "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }
    usage = chat_usage(prompt_tokens, completion_tokens)
    work = Work(
        id=frame["id"],
        model=request.model,
        endpoint="/v1/chat/completions",
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )
    if request.stream:
        asked = bool(request.stream_options and request.stream_options.include_usage) and with_usage
        work.stream = _events(frame, request, answers, usage if asked else None)
    else:
        work.whole = {
            **frame,
            "choices": [_choice(request, index, said) for index, said in enumerate(answers)],
        }
        if with_usage:
            work.whole["usage"] = usage
    return work


def chat_usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """OpenAI's usage object of chat and text completions."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def logprob_of(piece: str) -> float:
    """A plausible logarithm of a probability, always the same for one token."""
    return -(zlib.crc32(piece.encode("utf-8", "surrogatepass")) % 1_500) / 1_000


def _answers(request: ChatRequest) -> list[Said]:
    turns = turns_of(request.messages)
    tools = [tool["function"] for tool in request.tools or () if isinstance(tool.get("function"), dict)]
    named = [tool for tool in tools if isinstance(tool.get("name"), str)]
    call = tool_call(named, request.tool_choice, turns)
    limit = request.max_completion_tokens or request.max_tokens
    if call is not None:
        said = limited(call.arguments, limit, (), call)
        return [said] * (request.n or 1)
    text = answer_to_format(request.model, turns, request.response_format)
    first = limited(text, limit, stops_of(request.stop))
    if request.response_format and request.response_format.get("type") != "text":
        return [first] * (request.n or 1)
    others = (f"{text} (Choice {number}.)" for number in range(2, (request.n or 1) + 1))
    return [first, *(limited(other, limit, stops_of(request.stop)) for other in others)]


def _finish_reason(request: ChatRequest, said: Said) -> str:
    if said.cut:
        return "length"
    # OpenAI says "stop", not "tool_calls", when the caller named the function.
    return "tool_calls" if said.tool and not isinstance(request.tool_choice, dict) else "stop"


def _choice(request: ChatRequest, index: int, said: Said) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if said.tool else said.text}
    if said.tool:
        message["tool_calls"] = [_tool_call(said.tool, said.text, index)]
    return {
        "index": index,
        "message": {**message, "refusal": None, "annotations": []},
        "logprobs": {"content": [_logprob(piece, request) for piece in said.pieces], "refusal": None}
        if request.logprobs and not said.tool
        else None,
        "finish_reason": _finish_reason(request, said),
    }


def _tool_call(tool: ToolCall, arguments: str, index: int) -> dict[str, Any]:
    mark = zlib.crc32(f"{tool.name}{tool.arguments}{index}".encode())
    return {
        "id": f"call_offline{mark:08x}",
        "type": "function",
        "function": {"name": tool.name, "arguments": arguments},
    }


def _logprob(piece: str, request: ChatRequest) -> dict[str, Any]:
    def entry(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "surrogatepass"))}

    own = entry(piece, logprob_of(piece))
    others = [entry(f"{piece}{rank}", own["logprob"] - rank) for rank in range(1, request.top_logprobs or 0)]
    return {**own, "top_logprobs": [own, *others] if request.top_logprobs else []}


def _events(
    frame: dict[str, Any], request: ChatRequest, answers: list[Said], usage: dict[str, Any] | None
) -> Iterator[Event]:
    """The chunks in OpenAI's order: the role, the content, the reason for the end; last the usage, if asked.

    The frame around each piece is encoded once: a chunk costs one small string.
    """
    head = b"data: " + msgspec.json.encode(frame)[:-1] + b',"choices":['
    tail = b"]" + (b',"usage":null' if usage else b"") + b"}\n\n"
    for index, said in enumerate(answers):
        start: dict[str, Any] = {"role": "assistant", "content": None if said.tool else "", "refusal": None}
        if said.tool:
            start["tool_calls"] = [{"index": 0, **_tool_call(said.tool, "", index)}]
        yield Event(data=head + _delta(index, start, None, None) + tail)
        for piece in said.pieces:
            delta: dict[str, Any] = {"content": piece}
            if said.tool:
                delta = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            wants = request.logprobs and not said.tool
            logprobs = {"content": [_logprob(piece, request)], "refusal": None} if wants else None
            yield Event(data=head + _delta(index, delta, logprobs, None) + tail, tokens=1)
        yield Event(data=head + _delta(index, {}, None, _finish_reason(request, said)) + tail)
    if usage:
        yield Event(data=sse({**frame, "choices": [], "usage": usage}))


def _delta(index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, reason: str | None) -> bytes:
    return msgspec.json.encode({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason})
