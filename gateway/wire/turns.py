"""Messages as the surface has them: roles, and content that is a string or a list of parts."""

from typing import Any

import msgspec

from gateway.core.call import Turn

# A Raw field cannot be optional in a union: absence is an empty Raw, JSON's null are its four bytes.
ABSENT = msgspec.Raw()


def is_given(raw: msgspec.Raw) -> bool:
    """Whether a field was sent and is neither null nor an empty list."""
    return bytes(raw) not in {b"", b"null", b"[]"}


class Part(msgspec.Struct):
    type: str = ""
    text: Any = None


class Message(msgspec.Struct):
    role: str = "user"
    content: msgspec.Raw = ABSENT
    tool_calls: msgspec.Raw = ABSENT
    type: str = "message"


_string = msgspec.json.Decoder(str)
_parts = msgspec.json.Decoder(list[Part])
IMAGE_PARTS = frozenset({"image_url", "input_image", "image_file"})


def content_text(content: msgspec.Raw) -> tuple[str, bool]:
    """A content's text (parts joined by newlines) and whether it shows an image.

    What is not understood gives no text; judging it is the upstream's part, not ours.
    """
    raw = bytes(content)
    try:
        if raw[:1] == b'"':
            return _string.decode(raw), False
        if raw[:1] == b"[":
            parts = _parts.decode(raw)
            text = "\n".join(part.text for part in parts if isinstance(part.text, str))
            return text, any(part.type in IMAGE_PARTS for part in parts)
    except (msgspec.DecodeError, RecursionError):
        pass
    return "", False


def read_turns(messages: list[Message]) -> tuple[tuple[Turn, ...], str, bool, bool]:
    """Turns, the last user turn's text, whether any shows an image, whether a tool call waits for its result."""
    turns = []
    image = False
    last_user = ""
    for message in messages:
        text, shows = content_text(message.content)
        image = image or shows
        turns.append(Turn(message.role, text))
        if message.role == "user":
            last_user = text
    waits = bool(messages) and (
        messages[-1].role == "tool"
        or messages[-1].type in {"function_call", "function_call_output"}
        or is_given(messages[-1].tool_calls)
    )
    return tuple(turns), last_user, image, waits
