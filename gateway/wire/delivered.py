"""The text that a broken or silent stream delivered, to count tokens from."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.wire.sse import events, payload
from gateway.wire.usage import UNREADABLE

_any = msgspec.json.Decoder()


def delivered_text(chunks: Iterable[bytes]) -> str:
    """All model output in these bytes of a stream: content, refusals, tool names and arguments."""
    found: list[str] = []
    for event in events(b"".join(chunks)):
        data = payload(event)
        if not data or data == b"[DONE]":
            continue
        try:
            found.extend(_output(_any.decode(data)))
        except UNREADABLE:
            continue
    return "".join(found)


def body_text(body: bytes) -> str:
    """All model output in a whole reply that carried no usage."""
    try:
        return "".join(_output(_any.decode(body)))
    except UNREADABLE:
        return ""


OUTPUT_KEYS = ("content", "refusal", "reasoning_content", "text", "arguments", "name")


def _output(event: Any) -> Iterator[str]:
    if not isinstance(event, dict):
        return
    kind = event.get("type")
    if isinstance(kind, str) and kind.endswith(".delta") and isinstance(event.get("delta"), str):
        yield event["delta"]
    for choice in _list(event.get("choices")):
        if isinstance(choice.get("text"), str):
            yield choice["text"]
        yield from _message(choice.get("delta") or choice.get("message"))
    for item in _list(event.get("output")):
        yield from _message(item)


def _message(message: Any) -> Iterator[str]:
    if not isinstance(message, dict):
        return
    for key in OUTPUT_KEYS:
        if isinstance(message.get(key), str):
            yield message[key]
    for part in _list(message.get("content")):
        yield from _message(part)
    for tool_call in _list(message.get("tool_calls")):
        yield from _message(tool_call.get("function"))


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
