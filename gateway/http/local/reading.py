"""What a request to the local surface says: query parameters, JSON bodies, forms."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from gateway.core.call import Inbound
from gateway.core.errors import InvalidRequest
from gateway.core.facts import Attributes, AttributeValue
from gateway.core.page import Order, PageAsked
from gateway.wire.json_object import decode

MOST_PAIRS = 16
MOST_KEY_CHARACTERS = 64
MOST_VALUE_CHARACTERS = 512
MOST_FORM_FIELDS = 16
MOST_ID_CHARACTERS = 200
_anything = msgspec.json.Decoder()
ORDERS: dict[str, Order] = {"asc": "asc", "desc": "desc"}

Body = TypeVar("Body")


def query_of(inbound: Inbound) -> dict[str, str]:
    """The query's parameters; of one that is given twice the last."""
    return dict(parse_qsl(inbound.query.decode("latin-1"), keep_blank_values=True))


def page_asked(query: Mapping[str, str], *, most: int, otherwise: int) -> PageAsked:
    """Which page is wanted. Raises InvalidRequest (400) for a limit or an order that cannot be."""
    text = query.get("limit", str(otherwise))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
    if not 1 <= limit <= most:
        raise InvalidRequest(f"limit is {text!r}; it must be a whole number from 1 to {most}.", param="limit")
    order = ORDERS.get(query.get("order", "desc"))
    if order is None:
        raise InvalidRequest(f"order is {query['order']!r}; it must be 'asc' or 'desc'.", param="order")
    return PageAsked(limit, order, query.get("after") or None, query.get("before") or None)


def oldest_first(query: Mapping[str, str], *, most: int, otherwise: int) -> PageAsked:
    """The same of a list whose usual order is the other one. Raises InvalidRequest (400)."""
    return page_asked({"order": "asc", **query}, most=most, otherwise=otherwise)


def plain_body(inbound: Inbound) -> bytes:
    """The body without what stands around it. Raises InvalidRequest (400) for one with a NUL in it."""
    if b"\\u0000" in inbound.body:
        raise InvalidRequest("The body has a NUL in it (\\u0000); nothing here takes one.")
    return inbound.body.strip()


def json_body(inbound: Inbound) -> bytes:
    """The body as it came, for who reads it by rules of its own, once it is known to be JSON that can be kept and told.

    An empty one counts as `{}`. Raises InvalidRequest (400), for a number beyond all others for instance.
    """
    body = plain_body(inbound) or b"{}"
    decode(body, _anything)
    return body


def body_of(inbound: Inbound, decoder: msgspec.json.Decoder[Body]) -> Body:
    """The JSON body; an empty one counts as `{}`, as the official SDK sends it. Raises InvalidRequest (400).

    NUL is in no name and no text that a database takes.
    """
    return decode(plain_body(inbound) or b"{}", decoder)


def attributes_of(written: Mapping[str, Any] | None, param: str = "attributes") -> Attributes:
    """At most 16 pairs of a key and a string, number or boolean, by key. Raises InvalidRequest (400)."""
    found: list[tuple[str, AttributeValue]] = []
    for key, value in _pairs(written, param):
        if not isinstance(value, str | int | float | bool):
            raise InvalidRequest(f"{param}.{key} must be a string, a number or a boolean.", param=f"{param}.{key}")
        _fits(key, value, param)
        found.append((key, value if isinstance(value, str | bool) else float(value)))
    return tuple(sorted(found))


def metadata_of(written: Mapping[str, Any] | None) -> dict[str, str]:
    """At most 16 pairs of strings. Raises InvalidRequest (400)."""
    found = {}
    for key, value in _pairs(written, "metadata"):
        if not isinstance(value, str):
            raise InvalidRequest(f"metadata.{key} must be a string.", param=f"metadata.{key}")
        _fits(key, value, "metadata")
        found[key] = value
    return found


def texts_in(body: bytes) -> tuple[str, ...]:
    """Every short text of a JSON body that may be an id, however deep it stands; none of a body that is no JSON."""
    try:
        waiting: list[Any] = [_anything.decode(body or b"{}")]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    found: dict[str, None] = {}
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str) and len(one) <= MOST_ID_CHARACTERS and one.isascii() and one.isprintable():
            found[one] = None
    return tuple(found)


def _pairs(written: Mapping[str, Any] | None, param: str) -> list[tuple[str, Any]]:
    pairs = list((written or {}).items())
    if len(pairs) > MOST_PAIRS:
        raise InvalidRequest(f"{param} has {len(pairs)} keys; it may have at most {MOST_PAIRS}.", param=param)
    return pairs


def _fits(key: str, value: object, param: str) -> None:
    if not 1 <= len(key) <= MOST_KEY_CHARACTERS or "\0" in key:
        raise InvalidRequest(f"A key of {param} has 1 to {MOST_KEY_CHARACTERS} characters.", param=param)
    if isinstance(value, str) and (len(value) > MOST_VALUE_CHARACTERS or "\0" in value):
        told = f"{param}.{key} has {len(value)} characters; it may have at most {MOST_VALUE_CHARACTERS}, and no NUL."
        raise InvalidRequest(told, param=f"{param}.{key}")


class FormField(msgspec.Struct, frozen=True):
    """A field of a form. filename: None for one that is no file."""

    content: bytes
    filename: str | None = None


def form_of(inbound: Inbound) -> dict[str, FormField]:
    """The fields of a multipart form. Raises InvalidRequest (400) for a body that is none, or not whole."""
    kind, options = parse_options_header((inbound.header(b"content-type") or b"").decode("latin-1"))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary:
        raise InvalidRequest("Send the file as multipart/form-data, with a boundary.")
    fields: dict[str, FormField] = {}
    name, filename, pieces = "", None, list[bytes]()
    try:
        with PushMultipartParser(boundary, max_segment_count=MOST_FORM_FIELDS) as parser:
            for part in parser.parse(inbound.body):
                if isinstance(part, MultipartSegment):
                    name, filename, pieces = part.name, part.filename, []
                elif part is None:
                    fields[name] = FormField(b"".join(pieces), filename)
                else:
                    pieces.append(bytes(part))
    except (MultipartError, ValueError) as fault:
        raise InvalidRequest(f"The form cannot be read: {fault}.") from fault
    return fields
