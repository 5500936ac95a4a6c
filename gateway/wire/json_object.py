"""A caller's JSON body: checked, read in part, edited without touching the bytes of the rest."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from gateway.core.errors import InvalidRequest

JsonObject = dict[str, msgspec.Raw]
Struct = TypeVar("Struct")

_objects = msgspec.json.Decoder(JsonObject)
_key = msgspec.json.Encoder()


def decode(body: bytes, decoder: msgspec.json.Decoder[Struct]) -> Struct:
    """The body as the decoder's type. Raises InvalidRequest for anything hostile or malformed.

    msgspec skips over strings it does not need, so UTF-8 is checked apart; deep nesting raises
    RecursionError there, which must be a 400 and not a 500.
    """
    if not body.isascii():
        try:
            body.decode("utf-8")
        except UnicodeDecodeError as fault:
            raise InvalidRequest(f"The request body is not valid UTF-8 (byte {fault.start}).") from None
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as fault:
        message, _, place = str(fault).partition(" - at ")
        param = place.strip("`").removeprefix("$.") or None
        raise InvalidRequest(f"Invalid request body: {message}.", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise InvalidRequest(f"We could not parse the JSON body of your request: {fault}.") from None
    except RecursionError:
        raise InvalidRequest("The JSON body of your request is nested too deeply.") from None


def read_object(body: bytes) -> JsonObject:
    """The body's top level: keys in their order, values as the bytes that came."""
    return decode(body, _objects)


def write_object(fields: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    """A JSON object from values that already are JSON; their bytes are kept as they are."""
    parts = [_key.encode(key) + b":" + bytes(value) for key, value in fields.items()]
    return b"{" + b",".join(parts) + b"}"


def edited(body: bytes, changes: Mapping[str, Any]) -> bytes:
    """The body with some top-level values set; every other value keeps its bytes and its place."""
    fields: dict[str, bytes | msgspec.Raw] = dict(read_object(body))
    for key, value in changes.items():
        fields[key] = value if isinstance(value, (bytes, msgspec.Raw)) else msgspec.json.encode(value)
    return write_object(fields)
