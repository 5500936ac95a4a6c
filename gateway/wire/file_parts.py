"""Files that a call names by id, put into it where they are kept here and not by its upstream."""

import base64
import mimetypes
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.wire.json_object import edited, read_object

NAME = b'"file_id"'
UNKNOWN_KIND = "application/octet-stream"

_items = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()

Content = tuple[str, bytes]
"""A file's name and bytes."""


def file_ids_of(call: Call) -> tuple[str, ...]:
    """The ids of files that the call's messages name, each once; none where nothing can be understood."""
    if NAME not in call.inbound.body:
        return ()
    found: dict[str, None] = {}
    for raw in _messages(call):
        found |= dict.fromkeys(_ids(_decoded(raw)))
    return tuple(found)


def with_contents(call: Call, contents: Mapping[str, Content]) -> Call:
    """The call with these files in it as data. Messages without one of them keep their bytes."""
    messages = [_filled(raw, contents) for raw in _messages(call)]
    body = edited(call.inbound.body, {_field(call): messages})
    inbound = msgspec.structs.replace(call.inbound, body=body)
    return msgspec.structs.replace(call, inbound=inbound, prompt_bytes=len(body))


def _field(call: Call) -> str:
    return "input" if call.endpoint == "responses" else "messages"


def _messages(call: Call) -> list[msgspec.Raw]:
    try:
        return _items.decode(read_object(call.inbound.body)[_field(call)])
    except (KeyError, msgspec.DecodeError, RecursionError):
        return []  # A bare text, or what is for the upstream to judge.


def _decoded(raw: msgspec.Raw) -> Any:
    return _any.decode(raw)


def _parts(message: Any) -> Iterator[dict[str, Any]]:
    content = message.get("content") if isinstance(message, dict) else None
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and part.get("type") == "input_file":
            yield part
        elif isinstance(part, dict) and part.get("type") == "file" and isinstance(part.get("file"), dict):
            yield part["file"]


def _ids(message: Any) -> list[str]:
    return [part["file_id"] for part in _parts(message) if isinstance(part.get("file_id"), str)]


def _filled(raw: msgspec.Raw, contents: Mapping[str, Content]) -> msgspec.Raw:
    message = _decoded(raw)
    if not any(one in contents for one in _ids(message)):
        return raw
    for part in _parts(message):
        if part.get("file_id") in contents:
            name, content = contents[part.pop("file_id")]
            kind = mimetypes.guess_type(name)[0] or UNKNOWN_KIND
            part["filename"] = name
            part["file_data"] = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return msgspec.Raw(msgspec.json.encode(message))
