"""What the offline upstream reads of a request; everything else in a body is allowed and ignored."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gateway.core.call import Turn
from gateway.core.values import Value
from gateway.offline.exchange import Refusal
from gateway.offline.tokens import (
    TOKENS_PER_IMAGE,
    TOKENS_PER_MESSAGE,
    TOKENS_TO_PRIME_A_REPLY,
    count_tokens,
)

_Request = TypeVar("_Request", bound=Value)
_Limit = Annotated[int, Meta(ge=1)] | None
_Choices = Annotated[int, Meta(ge=1, le=128)] | None


class Part(Value, frozen=True):
    """A part of a message's content; only text is read, an image counts a fixed number of tokens."""

    type: str = "text"
    text: str | None = None


class Message(Value, frozen=True):
    """A chat message, or an item of the Responses API's input (whose tool results stand in `output`)."""

    role: str | None = None
    type: str | None = None
    content: str | list[Part] | None = None
    output: Any = None
    tool_calls: list[Any] | None = None

    @property
    def text(self) -> str:
        """Its text, the parts joined by newlines."""
        if isinstance(self.content, str):
            return self.content
        if self.content is not None:
            return "\n".join(part.text for part in self.content if part.text)
        return self.output if isinstance(self.output, str) else ""

    @property
    def images(self) -> int:
        """How many images it has."""
        parts = self.content if isinstance(self.content, list) else ()
        return sum("image" in part.type for part in parts)


class StreamOptions(Value, frozen=True):
    """What a caller wants with its stream."""

    include_usage: bool | None = None


class ChatRequest(Value, frozen=True):
    """The body of a chat completion."""

    model: str
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: _Choices = None
    max_tokens: _Limit = None
    max_completion_tokens: _Limit = None
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class CompletionRequest(Value, frozen=True):
    """The body of a text completion; a prompt may be texts or token ids."""

    model: str
    prompt: str | list[str | int | list[int]] = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: _Choices = None
    max_tokens: _Limit = None
    stop: str | list[str] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None


class ResponsesRequest(Value, frozen=True):
    """The body of a Responses call."""

    model: str
    input: str | list[Message] = ""
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: _Limit = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    text: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    previous_response_id: str | None = None


class EmbeddingsRequest(Value, frozen=True):
    """The body of an embeddings call."""

    model: str
    input: str | list[str | int | list[int]]
    encoding_format: str | None = None
    dimensions: Annotated[int, Meta(ge=1, le=8_192)] | None = None


def read_request(body: bytes, shape: type[_Request]) -> _Request:
    """The body as `shape`. Raises Refusal (400, OpenAI's shape) when it is not JSON or does not fit."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as fault:
        where = str(fault).rpartition("`$.")[2].rstrip("`") if "`$." in str(fault) else None
        raise Refusal(400, f"Invalid request: {fault}", param=where, code="invalid_type") from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise Refusal(400, "We could not parse the JSON body of your request.") from None


def turns_of(messages: Iterable[Message]) -> tuple[Turn, ...]:
    """The messages as turns; a tool's result has the role `tool` in either API."""
    return tuple(
        Turn(role="tool" if one.type == "function_call_output" else one.role or "", text=one.text) for one in messages
    )


def prompt_tokens_of(messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None) -> int:
    """What a conversation counts: its text, 4 more per message, 3 for the reply, and its tools as JSON."""
    total = TOKENS_TO_PRIME_A_REPLY
    for message in messages:
        total += TOKENS_PER_MESSAGE + count_tokens(message.text) + TOKENS_PER_IMAGE * message.images
        if message.tool_calls:
            total += count_tokens(msgspec.json.encode(message.tool_calls).decode())
    if tools:
        total += count_tokens(msgspec.json.encode(tools).decode())
    return total


def stops_of(stop: str | list[str] | None) -> tuple[str, ...]:
    """The stop sequences as a tuple."""
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)
