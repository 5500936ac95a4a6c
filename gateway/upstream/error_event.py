"""A stream that begins with an error: the status said 200 before the upstream knew."""

from typing import Any

import msgspec

from gateway.wire.usage import UNREADABLE

_any = msgspec.json.Decoder()
# Statuses of the 4xx that say nothing against the request itself.
_NOT_THE_CALLERS = frozenset({408, 409, 429})


def is_failure(payload: bytes) -> bool:
    """Whether an event's data says that the upstream failed; False for what it has against the request itself.

    Chat and completions say `{"error": ...}`, Responses `{"type": "error"}` or `{"type": "response.failed"}`.
    """
    if b'error"' not in payload and b'response.failed"' not in payload:
        return False
    try:
        event = _any.decode(payload)
    except UNREADABLE:
        return False
    if not isinstance(event, dict) or event.get("choices"):
        return False
    error = event.get("error")
    if event.get("type") == "error":
        error = error or event
    elif event.get("type") == "response.failed":
        response = event.get("response")
        error = (response.get("error") if isinstance(response, dict) else None) or event
    return bool(error) and not _is_the_callers(error)


def _is_the_callers(error: Any) -> bool:
    if not isinstance(error, dict):
        return False
    for key in ("status", "code"):
        code = str(error.get(key))
        if len(code) == 3 and code.isdigit():
            return 400 <= int(code) < 500 and int(code) not in _NOT_THE_CALLERS
    return error.get("type") == "invalid_request_error"


def is_about_options(refusal: bytes) -> bool:
    """Whether a refusal is of the `stream_options` that we put in."""
    return b"stream_options" in refusal or b"include_usage" in refusal
