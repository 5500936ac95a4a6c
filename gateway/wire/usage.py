"""Usage as providers report it, in any of OpenAI's shapes."""

import msgspec

from gateway.core.usage import Usage

# A count past this is a fault of the provider's, not a bill.
MAX_TOKENS = 1_000_000_000
# The usage of a call has some 500 bytes; more than this is not kept beside the row.
MAX_RAW = 16 * 1024
# Words for the tier whose rates stand first on a price page. What was asked for as `auto` was served at one of them.
STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "standard_only"})
MAX_TIER = 32


class InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class Reported(msgspec.Struct):
    """Chat, completions and embeddings say prompt/completion; Responses, images and speech say input/output.

    Transcriptions spell the details in the singular; those that are billed by the second have no tokens at all.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None
    input_token_details: InputDetails | None = None
    output_token_details: OutputDetails | None = None


class Body(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()


class Event(msgspec.Struct):
    """A stream event: chat and completions carry usage at the top, Responses inside `response`."""

    usage: msgspec.Raw = msgspec.Raw()
    service_tier: msgspec.Raw = msgspec.Raw()
    response: Body | None = None


_reported = msgspec.json.Decoder(Reported)
_body = msgspec.json.Decoder(Body)
_event = msgspec.json.Decoder(Event)
_text = msgspec.json.Decoder(str)
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_usage(raw: bytes, tier: str = "") -> Usage | None:
    """One usage object; None when it is null, malformed, negative or absurd (the caller then estimates).

    A detail larger than its whole is cut to the whole: it must not be charged twice. A total larger than its two
    parts holds tokens that nobody saw, such as hidden reasoning: they are billed as output, and so they are output
    here. tier: what the reply around it says of its service tier.
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
    total = found.total_tokens or 0
    if total > MAX_TOKENS:
        return None
    tokens_out += max(0, total - tokens_in - tokens_out)
    inputs = found.prompt_tokens_details or found.input_tokens_details or found.input_token_details or InputDetails()
    outputs = (
        found.completion_tokens_details or found.output_tokens_details or found.output_token_details or OutputDetails()
    )
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        # The decoder skips strings that it does not need, so their UTF-8 was never checked.
        raw=raw.decode("utf-8", "replace") if len(raw) <= MAX_RAW else None,
        service_tier=tier,
        **_details(inputs, outputs, tokens_in, tokens_out),  # type: ignore[arg-type]  # none of these is `source`
    )


def _details(inputs: InputDetails, outputs: OutputDetails, tokens_in: int, tokens_out: int) -> dict[str, int]:
    """The details by their names in Usage, none below 0 or above its whole; those that exclude each other fit in it."""
    cut: dict[str, int] = {}
    for name, told, whole in (
        ("cached_tokens", inputs.cached_tokens, tokens_in),
        ("cache_write_tokens", inputs.cache_write_tokens, tokens_in),
        ("audio_input_tokens", inputs.audio_tokens, tokens_in),
        ("image_input_tokens", inputs.image_tokens, tokens_in),
        ("reasoning_tokens", outputs.reasoning_tokens, tokens_out),
        ("audio_output_tokens", outputs.audio_tokens, tokens_out),
        ("image_output_tokens", outputs.image_tokens, tokens_out),
        ("accepted_prediction_tokens", outputs.accepted_prediction_tokens, tokens_out),
        ("rejected_prediction_tokens", outputs.rejected_prediction_tokens, tokens_out),
    ):
        cut[name] = min(max(told or 0, 0), whole)
    for name, other, whole in (
        ("cache_write_tokens", "cached_tokens", tokens_in),
        ("rejected_prediction_tokens", "accepted_prediction_tokens", tokens_out),
    ):
        cut[name] = min(cut[name], whole - cut[other])
    return cut


def usage_of_body(body: bytes) -> Usage | None:
    """The usage of a whole JSON reply, or None."""
    if b'"usage"' not in body:
        return None
    try:
        found = _body.decode(body)
    except UNREADABLE:
        return None
    return read_usage(bytes(found.usage), _tier(found.service_tier))


def usage_of_event(payload: bytes) -> Usage | None:
    """The usage of one stream event's JSON, or None."""
    try:
        event = _event.decode(payload)
    except UNREADABLE:
        return None
    inside = event.response or Body()
    tier = _tier(event.service_tier) or _tier(inside.service_tier)
    return read_usage(bytes(event.usage), tier) or read_usage(bytes(inside.usage), tier)


def tier_of_event(payload: bytes) -> str:
    """The service tier that one event of a stream, or a whole reply, was served at; '' for the standard one."""
    try:
        event = _event.decode(payload)
    except UNREADABLE:
        return ""
    return _tier(event.service_tier) or (_tier(event.response.service_tier) if event.response is not None else "")


def _tier(raw: msgspec.Raw) -> str:
    """What the provider calls it. A word that is not known stays as it is: it has no price, and that must show."""
    try:
        return plain_tier(_text.decode(bytes(raw)))
    except UNREADABLE:
        return ""


def plain_tier(told: object) -> str:
    """A service tier as it is booked; '' for the standard one, and for what is no text."""
    if not isinstance(told, str):
        return ""
    name = told.strip().lower()
    return "" if name in STANDARD_TIERS else name[:MAX_TIER]
