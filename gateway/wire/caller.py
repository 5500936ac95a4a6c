"""What a caller says in headers of ours: metadata, and the path it would like."""

from typing import Any

import msgspec

from gateway.core.call import Inbound
from gateway.core.errors import InvalidRequest

MAX_METADATA = 16
MAX_KEY = 64
MAX_VALUE = 512

_mapping = msgspec.json.Decoder(dict[str, str | int | float | bool])
PATHS = ("fine_tuned", "rag", "direct")


def caller_metadata(inbound: Inbound, in_body: Any) -> tuple[tuple[str, str], ...]:
    """Metadata as sorted pairs: the body's `metadata`, and `x-gateway-metadata` above it.

    The header is small JSON or `k=v, k=v`. Raises InvalidRequest past OpenAI's limits: 16 pairs, keys of
    64 and values of 512 characters.
    """
    header = inbound.header(b"x-gateway-metadata")
    if header is None and not in_body:
        return ()
    pairs: dict[str, str] = {}
    if isinstance(in_body, dict):
        pairs.update({key: value for key, value in in_body.items() if isinstance(value, str)})
    if header is not None:
        pairs.update(_header_pairs(header))
    if len(pairs) > MAX_METADATA:
        raise InvalidRequest(f"metadata has {len(pairs)} pairs; at most {MAX_METADATA}.", param="metadata")
    for key, value in pairs.items():
        if len(key) > MAX_KEY or len(value) > MAX_VALUE:
            raise InvalidRequest(
                f"metadata {key[:MAX_KEY]!r} is too long; keys take {MAX_KEY}, values {MAX_VALUE} characters.",
                param="metadata",
            )
    return tuple(sorted(pairs.items()))


def _header_pairs(header: bytes) -> dict[str, str]:
    try:
        text = header.decode("utf-8").strip()
        if text.startswith("{"):
            return {key: _as_text(value) for key, value in _mapping.decode(text).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest(
            "x-gateway-metadata is not readable; it must be small flat JSON or k=v, k=v.",
            param="x-gateway-metadata",
        ) from None
    pairs = {}
    for piece in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = piece.partition("=")
        if not equals or not key.strip():
            raise InvalidRequest(f"x-gateway-metadata has {piece!r}; it must be k=v.", param="x-gateway-metadata")
        pairs[key.strip()] = value.strip()
    return pairs


def _as_text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def asked_path(inbound: Inbound) -> str | None:
    """The path named by `x-gateway-path`, or None. Raises InvalidRequest for a word that is no path."""
    header = inbound.header(b"x-gateway-path")
    if header is None:
        return None
    name = header.decode("latin-1").strip()
    if name not in PATHS:
        raise InvalidRequest(
            f"x-gateway-path is {name!r}; it must be one of {', '.join(PATHS)}.", param="x-gateway-path"
        )
    return name
