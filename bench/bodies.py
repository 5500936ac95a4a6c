"""What is asked and what is answered: the same bytes for every system."""

import json

PLAIN_MODEL = "gpt-4.1-mini"
STREAM_MODEL = "gpt-4.1-nano"
TURNS = [
    {"role": "system", "content": "You are a helpful assistant of a small shop."},
    {"role": "user", "content": "How long does a refund take when the parcel went back last week?"},
]
USAGE = {
    "prompt_tokens": 31,
    "completion_tokens": 101,
    "total_tokens": 132,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
EVENTS = 104
ANSWER = "A refund takes five working days from the day on which the parcel reaches us. You get a message then."


def plain_request(model: str = PLAIN_MODEL) -> bytes:
    """A small chat call."""
    return json.dumps({"model": model, "messages": TURNS}).encode()


def stream_request(model: str = STREAM_MODEL, *, asks_usage: bool = True) -> bytes:
    """The same, streamed. asks_usage: without it a gateway that keeps books must ask for itself."""
    options = {"stream_options": {"include_usage": True}} if asks_usage else {}
    return json.dumps({"model": model, "messages": TURNS, "stream": True} | options).encode()


def plain_reply() -> bytes:
    """A chat.completion with its usage."""
    return json.dumps(
        {
            "id": "chatcmpl-bench0000000000000000000001",
            "object": "chat.completion",
            "created": 1790000000,
            "model": PLAIN_MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": USAGE,
            "service_tier": "default",
            "system_fingerprint": "fp_bench",
        }
    ).encode()


def stream_events() -> list[bytes]:
    """104 events: the role, 100 tokens, the end, the usage and [DONE]."""
    deltas: list[dict[str, object]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": f" word{number}"} for number in range(EVENTS - 4)]
    events = [_event(choices=[{"index": 0, "delta": delta, "finish_reason": None}], usage=None) for delta in deltas]
    events.append(_event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None))
    events.append(_event(choices=[], usage=USAGE))
    events.append(b"data: [DONE]\n\n")
    return events


def _event(**fields: object) -> bytes:
    head = {
        "id": "chatcmpl-bench0000000000000000000002",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": STREAM_MODEL,
        "service_tier": "default",
        "system_fingerprint": "fp_bench",
    }
    return b"data: " + json.dumps(head | fields, separators=(",", ":")).encode() + b"\n\n"
