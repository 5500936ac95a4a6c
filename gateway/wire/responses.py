"""POST /v1/responses: what a policy needs of it."""

from typing import Any

import msgspec

from gateway.core.call import Call, Inbound, Turn
from gateway.wire.caller import asked_path, caller_metadata
from gateway.wire.chat import Shape, format_name
from gateway.wire.file_parts import NAME as FILE_ID
from gateway.wire.file_search import NAME, file_search_of
from gateway.wire.json_object import decode, read_object
from gateway.wire.turns import ABSENT, Message, is_given, read_turns
from gateway.wire.usage import plain_tier


class TextShape(msgspec.Struct):
    format: Shape | None = None


class ResponsesBody(msgspec.Struct):
    """The fields read; all others stay in the bytes."""

    model: str
    input: str | list[Message] | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    tools: msgspec.Raw = ABSENT
    include: Any = None
    text: TextShape | None = None
    metadata: Any = None
    temperature: Any = None
    user: Any = None
    safety_identifier: Any = None
    service_tier: Any = None
    conversation: Any = None


_decoder = msgspec.json.Decoder(ResponsesBody)


def read_responses(inbound: Inbound) -> Call:
    """The call. Raises InvalidRequest (400) naming the field that is missing or of the wrong type."""
    body = decode(inbound.body, _decoder)
    turns: tuple[Turn, ...]
    if isinstance(body.input, list):
        turns, text, has_image, waits = read_turns(body.input)
    else:
        text, has_image, waits = body.input or "", False, False
        turns = (Turn("user", text),)
    if body.instructions:
        turns = (Turn("system", body.instructions), *turns)
    user = body.safety_identifier if body.user is None else body.user
    told = body.conversation.get("id") if isinstance(body.conversation, dict) else body.conversation
    return Call(
        inbound=inbound,
        endpoint="responses",
        model=body.model,
        stream=bool(body.stream),
        include_usage=True,
        turns=turns,
        text=text,
        has_tools=is_given(body.tools),
        file_search=file_search_of(body.tools, body.include) if NAME in inbound.body else None,
        names_files=FILE_ID in inbound.body,
        has_image=has_image,
        response_format=format_name(body.text.format) if body.text and body.text.format else "text",
        rag_ready=bool(text) and not waits,
        output_limit=body.max_output_tokens,
        metadata=caller_metadata(inbound, body.metadata),
        prompt_bytes=len(inbound.body),
        asked_path=asked_path(inbound),
        temperature=body.temperature if isinstance(body.temperature, (int, float)) else None,
        user=user if isinstance(user, str) else "",
        service_tier="" if body.service_tier is None else plain_tier(body.service_tier),
        conversation=told if isinstance(told, str) else "",
    )


def wants_results(call: Call) -> bool:
    """Whether a response's `file_search_call` shall tell what was found; read only where there is one."""
    if call.endpoint != "responses":
        return False
    try:
        included = msgspec.json.decode(bytes(read_object(call.inbound.body).get("include", b"null")))
    except msgspec.DecodeError:
        return False
    return isinstance(included, list) and "file_search_call.results" in included
