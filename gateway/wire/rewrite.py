"""What we change in a caller's body, and nothing else of it."""

from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.core.decision import Arm
from gateway.wire.json_object import edited, read_object

WITH_USAGE = b'{"include_usage":true}'
STREAM_OPTIONS = frozenset({"chat", "completions"})


def rewritten(call: Call, arm: Arm, *, may_ask_usage: bool, block: str | None = None) -> tuple[bytes, bool]:
    """The body for an arm, and whether a stream's usage was asked for on our own account.

    The bytes are the caller's own unless something must change: the model's name, `stream_options`, or the
    sources (`block`), which go in just before the last user turn. Every other value keeps its bytes.
    """
    changes: dict[str, Any] = {}
    # A body that names its model twice is read one way here and perhaps the other way upstream: then one is left.
    twice = call.inbound.body.count(b'"model"') > 1
    if (arm.model != call.model or twice) and arm.path != "passthrough":
        changes["model"] = arm.model
    injected = call.stream and may_ask_usage and not call.include_usage and call.endpoint in STREAM_OPTIONS
    body = call.inbound.body
    if injected:
        options = read_object(body).get("stream_options")
        plain = options is None or bytes(options) == b"null"
        changes["stream_options"] = msgspec.Raw(
            WITH_USAGE if plain or options is None else edited(bytes(options), {"include_usage": True})
        )
    if block is not None:
        changes |= _with_block(call, block)
    return (edited(body, changes) if changes else body), injected


def _with_block(call: Call, block: str) -> dict[str, Any]:
    """The sources as a turn of the user's: as data they have no more say than the one who asks."""
    field = "input" if call.endpoint == "responses" else "messages"
    turn = msgspec.Raw(msgspec.json.encode({"role": "user", "content": block}))
    written = bytes(read_object(call.inbound.body)[field])
    if written.lstrip()[:1] == b'"':
        question = msgspec.Raw(b'{"role":"user","content":' + written + b"}")
        return {field: msgspec.Raw(_array([turn, question]))}
    turns = msgspec.json.decode(written, type=list[msgspec.Raw])
    roles = [msgspec.json.decode(item, type=_Role).role for item in turns]
    last_user = len(roles) - 1 - roles[::-1].index("user")
    return {field: msgspec.Raw(_array([*turns[:last_user], turn, *turns[last_user:]]))}


class _Role(msgspec.Struct):
    role: str = "user"


def _array(items: list[msgspec.Raw]) -> bytes:
    return b"[" + b",".join(bytes(item) for item in items) + b"]"
