"""OpenAI's error shape, with all four keys."""

import msgspec

from gateway.core.errors import GatewayError

_encoder = msgspec.json.Encoder()


def error_body(fault: GatewayError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}` as JSON bytes."""
    return _encoder.encode(
        {"error": {"message": fault.message, "type": fault.kind, "param": fault.param, "code": fault.code}}
    )


def error_event(fault: GatewayError) -> bytes:
    """The same as one SSE event, for a stream that has begun; no `[DONE]` follows a broken stream."""
    return b"data: " + error_body(fault) + b"\n\n"
