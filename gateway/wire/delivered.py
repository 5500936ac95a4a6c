"""The text that a broken or silent stream delivered, to count tokens from."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.wire.sse import events, payload
from gateway.wire.usage import UNREADABLE

_any = msgspec.json.Decoder()


def delivered_text(chunks: Iterable[bytes]) -> str:
    """All model output in these bytes of a stream: content, refusals, reasoning, tool names and arguments.

    What Responses says twice, in parts and then whole, is counted in its parts.
    """
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
    """All model output in a whole reply that carried no usage. A reply that is not JSON is output as it stands."""
    try:
        return "".join(_output(_any.decode(body)))
    except UNREADABLE:
        return body.decode("utf-8", "replace")


OUTPUT_KEYS = (
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "text",
    "transcript",
    "arguments",
    "input",
    "name",
)
TOOL_CALLS = ("function", "custom")
ITEM_BEGINS = "response.output_item.added"


def _output(event: Any) -> Iterator[str]:
    if not isinstance(event, dict):
        return
    kind = event.get("type")
    if isinstance(kind, str) and kind.endswith(".delta") and isinstance(event.get("delta"), str):
        yield event["delta"]
    if kind == ITEM_BEGINS:
        # A tool's name stands here and in no delta; what else the item has at its beginning comes in deltas.
        item = event.get("item")
        yield str(item.get("name") or "") if isinstance(item, dict) else ""
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
    for key in ("content", "summary"):
        for part in _list(message.get(key)):
            yield from _message(part)
    for key in ("function_call", "audio"):
        yield from _message(message.get(key))
    for tool_call in _list(message.get("tool_calls")):
        for key in TOOL_CALLS:
            yield from _message(tool_call.get(key))


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
