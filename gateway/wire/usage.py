"""Usage as providers report it, in any of OpenAI's shapes."""

import msgspec

from gateway.core.usage import Usage

# A count past this is a fault of the provider's, not a bill.
MAX_TOKENS = 1_000_000_000
# The usage of a call has some 500 bytes; more than this is not kept beside the row.
MAX_RAW = 16 * 1024


class InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class Reported(msgspec.Struct):
    """Chat and completions say prompt/completion, Responses says input/output; both are read."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class Body(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()


class Event(msgspec.Struct):
    """A stream event: chat and completions carry usage at the top, Responses inside `response`."""

    usage: msgspec.Raw = msgspec.Raw()
    response: Body | None = None


_reported = msgspec.json.Decoder(Reported)
_body = msgspec.json.Decoder(Body)
_event = msgspec.json.Decoder(Event)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_usage(raw: bytes) -> Usage | None:
    """One usage object; None when it is null, malformed, negative or absurd (the caller then estimates).

    A detail larger than its whole is cut to the whole: it must not be charged twice.
    """
    try:
        found = _reported.decode(raw)
    except UNREADABLE:
        return None
    tokens_in = found.prompt_tokens if found.prompt_tokens is not None else found.input_tokens
    tokens_out = found.completion_tokens if found.completion_tokens is not None else found.output_tokens
    if tokens_in is None and tokens_out is None:
        return None
    tokens_in, tokens_out = tokens_in or 0, tokens_out or 0
    if not (0 <= tokens_in <= MAX_TOKENS and 0 <= tokens_out <= MAX_TOKENS):
        return None
    inputs = found.prompt_tokens_details or found.input_tokens_details or InputDetails()
    outputs = found.completion_tokens_details or found.output_tokens_details or OutputDetails()
    cached = _within(inputs.cached_tokens, tokens_in)
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cached_tokens=cached,
        cache_write_tokens=_within(inputs.cache_write_tokens, tokens_in - cached),
        reasoning_tokens=_within(outputs.reasoning_tokens, tokens_out),
        # The decoder skips strings that it does not need, so their UTF-8 was never checked.
        raw=raw.decode("utf-8", "replace") if len(raw) <= MAX_RAW else None,
    )


def _within(part: int | None, whole: int) -> int:
    return min(max(part or 0, 0), whole)


def usage_of_body(body: bytes) -> Usage | None:
    """The usage of a whole JSON reply, or None."""
    if b'"usage"' not in body:
        return None
    try:
        raw = _body.decode(body).usage
    except UNREADABLE:
        return None
    return read_usage(bytes(raw))


def usage_of_event(payload: bytes) -> Usage | None:
    """The usage of one stream event's JSON, or None."""
    try:
        event = _event.decode(payload)
    except UNREADABLE:
        return None
    inside = event.response.usage if event.response is not None else event.usage
    return read_usage(bytes(event.usage)) or read_usage(bytes(inside))
