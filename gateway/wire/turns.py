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
    function_call: msgspec.Raw = ABSENT
    type: str = "message"
    tool_call_id: Any = None
    call_id: Any = None
    id: Any = None
    approval_request_id: Any = None


class ToolCall(msgspec.Struct):
    id: Any = None


_string = msgspec.json.Decoder(str)
_calls = msgspec.json.Decoder(list[ToolCall])
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
    image = uses_tools = False
    last_user = ""
    for message in messages:
        text, shows = content_text(message.content)
        image = image or shows
        turns.append(Turn(message.role, text))
        if message.role == "user":
            last_user = text
        # Without a look inside: most calls have no tools, and pay for no more than this.
        uses_tools = (
            uses_tools
            or message.role in RESULTS
            or message.type != "message"
            or message.tool_calls is not ABSENT
            or message.function_call is not ABSENT
        )
    waits = uses_tools and (_is_of_a_tool(messages[-1]) or _is_open(messages))
    return tuple(turns), last_user, image, waits


RESULTS = frozenset({"tool", "function"})
APPROVAL = "mcp_approval_request"


def _is_of_a_tool(message: Message) -> bool:
    """Whether a message asks for a tool, or is what one gave: then the model's turn is not over."""
    return (
        message.role in RESULTS
        or message.call_id is not None
        or message.type == APPROVAL
        or message.type.endswith("call_output")
        or message.type == "function_call"
        or is_given(message.tool_calls)
        or is_given(message.function_call)
    )


def _is_open(messages: list[Message]) -> bool:
    """Whether a tool was asked for, anywhere, and its result is not there. What is not understood counts as open."""
    asked: set[Any] = set()
    for message in messages:
        if is_given(message.tool_calls):
            try:
                asked.update(str(call.id) for call in _calls.decode(bytes(message.tool_calls)))
            except (msgspec.DecodeError, RecursionError):
                return True
        if message.type == APPROVAL:
            asked.add(str(message.id))
        asked.discard(str(message.tool_call_id))
        asked.discard(str(message.approval_request_id))
        if message.call_id is not None:
            (asked.discard if message.type.endswith("_output") else asked.add)(str(message.call_id))
    return bool(asked)
