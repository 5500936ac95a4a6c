"""POST /v1/chat/completions: what a policy needs of it."""

from typing import Any

import msgspec

from gateway.core.call import Call, Inbound
from gateway.wire.caller import asked_path, caller_metadata
from gateway.wire.file_parts import NAME as FILE_ID
from gateway.wire.file_search import NAME, file_search_of
from gateway.wire.json_object import decode
from gateway.wire.turns import ABSENT, Message, is_given, read_turns
from gateway.wire.usage import plain_tier


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Shape(msgspec.Struct):
    type: str = "text"


FORMATS = frozenset({"text", "json_object", "json_schema"})


def format_name(shape: Shape) -> str:
    """`text`, `json_object` or `json_schema`; `other` for one that is not OpenAI's."""
    return shape.type if shape.type in FORMATS else "other"


class ChatBody(msgspec.Struct):
    """The fields read; all others stay in the bytes."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    tools: msgspec.Raw = ABSENT
    response_format: Shape | None = None
    metadata: Any = None
    temperature: Any = None
    user: Any = None
    safety_identifier: Any = None
    service_tier: Any = None


_decoder = msgspec.json.Decoder(ChatBody)


def read_chat(inbound: Inbound) -> Call:
    """The call. Raises InvalidRequest (400) naming the field that is missing or of the wrong type."""
    body = decode(inbound.body, _decoder)
    turns, text, has_image, waits = read_turns(body.messages)
    user = body.safety_identifier if body.user is None else body.user
    return Call(
        inbound=inbound,
        endpoint="chat",
        model=body.model,
        stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        turns=turns,
        text=text,
        has_tools=is_given(body.tools),
        file_search=file_search_of(body.tools) if NAME in inbound.body else None,
        names_files=FILE_ID in inbound.body,
        has_image=has_image,
        response_format="text" if body.response_format is None else format_name(body.response_format),
        rag_ready=bool(text) and not waits,
        choices=max(1, body.n or 1),
        output_limit=body.max_completion_tokens or body.max_tokens,
        metadata=caller_metadata(inbound, body.metadata),
        prompt_bytes=len(inbound.body),
        asked_path=asked_path(inbound),
        temperature=body.temperature if isinstance(body.temperature, (int, float)) else None,
        user=user if isinstance(user, str) else "",
        service_tier="" if body.service_tier is None else plain_tier(body.service_tier),
    )
