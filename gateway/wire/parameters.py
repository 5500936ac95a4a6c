"""A rule's defaults and caps put into a caller's body, under the names that its endpoint has for them."""

from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.core.decision import Parameters
from gateway.wire.completions import DEFAULT_LIMIT
from gateway.wire.json_object import edited, read_object

# The first name is written where the caller uses none of them.
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "chat": {"max_tokens": ("max_completion_tokens", "max_tokens"), "temperature": ("temperature",)},
    "responses": {"max_tokens": ("max_output_tokens",), "temperature": ("temperature",)},
    "completions": {"max_tokens": ("max_tokens",), "temperature": ("temperature",)},
}
# What the model takes where nobody says anything; for output only the legacy endpoint has such a number.
UNSAID = {
    "chat": {"temperature": 1.0},
    "responses": {"temperature": 1.0},
    "completions": {"temperature": 1.0, "max_tokens": float(DEFAULT_LIMIT)},
}


def bounded(call: Call, parameters: Parameters) -> Call:
    """The call with its parameters within bounds; the same call when nothing had to change.

    Embeddings and endpoints that are passed on have no such parameters. A value that is no number is left to the
    upstream to judge.
    """
    names = NAMES.get(call.endpoint)
    if names is None:
        return call
    body = read_object(call.inbound.body)
    defaults, caps = dict(parameters.defaults), dict(parameters.caps)
    changes: dict[str, Any] = {}
    for parameter, spellings in names.items():
        given = [name for name in spellings if name in body and bytes(body[name]) != b"null"]
        cap, default = caps.get(parameter), defaults.get(parameter)
        if not given:
            value = _unsaid(UNSAID[call.endpoint].get(parameter), default, cap)
            if value is not None:
                changes[spellings[0]] = value
            continue
        for name in given:
            value = _number(bytes(body[name]))
            if cap is not None and value is not None and value > cap:
                changes[name] = cap
    if not changes:
        return call
    inbound = msgspec.structs.replace(call.inbound, body=edited(call.inbound.body, changes))
    return msgspec.structs.replace(
        call,
        inbound=inbound,
        output_limit=_limit(call, changes),
        temperature=changes.get("temperature", call.temperature),
    )


def _limit(call: Call, changes: dict[str, Any]) -> int | None:
    set_here = [value for name, value in changes.items() if name != "temperature"]
    return int(min(set_here)) if set_here else call.output_limit


def _unsaid(usual: float | None, default: float | None, cap: float | None) -> float | None:
    """What is written where the caller says nothing: the default, or a cap that the model's own choice may pass."""
    if default is not None:
        return default if cap is None else min(default, cap)
    if cap is None:
        return None
    return cap if usual is None or cap < usual else None


def _number(text: bytes) -> float | None:
    try:
        return msgspec.json.decode(text, type=float)
    except msgspec.DecodeError:
        return None
