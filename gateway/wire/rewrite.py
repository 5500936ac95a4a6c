"""What we change in a caller's body, and nothing else of it."""

from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.core.decision import Arm
from gateway.wire.json_object import edited, read_object

WITH_USAGE = b'{"include_usage":true}'
# How the ids of searches begin that this gateway made, see `own_search_id`.
OWN_SEARCH = b"fs_gateway_"
STREAM_OPTIONS = frozenset({"chat", "completions"})


def own_search_id(decision_id: str) -> str:
    """The id of the `file_search_call` that a decision's answer tells of."""
    return OWN_SEARCH.decode() + decision_id.removeprefix("dec_")


def rewritten(call: Call, arm: Arm, *, may_ask_usage: bool, block: str | None = None) -> tuple[bytes, bool]:
    """The body for an arm, and whether a stream's usage was asked for on our own account.

    The bytes are the caller's own unless something must change: the model's name, `stream_options`, or the
    sources (`block`), which go in just before the last user turn. Every other value keeps its bytes.
    """
    changes: dict[str, Any] = {}
    body = call.inbound.body
    if call.endpoint == "responses" and OWN_SEARCH in body:
        body = _without_own_searches(body)
    # A body that names its model twice is read one way here and perhaps the other way upstream: then one is left.
    twice = body.count(b'"model"') > 1
    if (arm.model != call.model or twice) and arm.path != "passthrough":
        changes["model"] = arm.model
    injected = call.stream and may_ask_usage and not call.include_usage and call.endpoint in STREAM_OPTIONS
    if injected:
        options = read_object(body).get("stream_options")
        plain = options is None or bytes(options) == b"null"
        changes["stream_options"] = msgspec.Raw(
            WITH_USAGE if plain or options is None else edited(bytes(options), {"include_usage": True})
        )
    if block is not None:
        changes |= _with_block(call, body, block)
    return (edited(body, changes) if changes else body), injected


def _without_own_searches(body: bytes) -> bytes:
    """A response's input without the searches that we told of in an earlier one: nobody upstream knows them."""
    written = bytes(read_object(body).get("input", b""))
    if written.lstrip()[:1] != b"[":
        return body
    items = msgspec.json.decode(written, type=list[msgspec.Raw])
    kept = [item for item in items if not (OWN_SEARCH in bytes(item) and _is_own_search(item))]
    return body if len(kept) == len(items) else edited(body, {"input": msgspec.Raw(_array(kept))})


def _is_own_search(item: msgspec.Raw) -> bool:
    try:
        found = msgspec.json.decode(item, type=_Item)
    except msgspec.ValidationError:
        return False
    return found.type == "file_search_call" and found.id.startswith(OWN_SEARCH.decode())


class _Item(msgspec.Struct):
    type: str = ""
    id: str = ""


def _with_block(call: Call, body: bytes, block: str) -> dict[str, Any]:
    """The sources as a turn of the user's: as data they have no more say than the one who asks."""
    field = "input" if call.endpoint == "responses" else "messages"
    turn = msgspec.Raw(msgspec.json.encode({"role": "user", "content": block}))
    written = bytes(read_object(body)[field])
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
