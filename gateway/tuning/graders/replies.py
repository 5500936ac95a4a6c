"""What a model's reply to a grader or a prompt says: its words, its usage, or why there are none."""

from typing import Any

import msgspec

from gateway.core.answered import Answered
from gateway.core.json_value import Json
from gateway.core.values import Value
from gateway.tuning.graders.graded import ModelUsage
from gateway.wire.usage import usage_of_body

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Fault(Value, frozen=True):
    """OpenAI's error object, in part."""

    code: str | None = None
    message: str = ""


class _FaultBody(Value, frozen=True):
    error: Fault = Fault()


class Replied(Value, frozen=True):
    """A chat completion's first choice. message: as it came. usage: of this one call."""

    text: str
    refusal: str | None
    finish_reason: str
    message: dict[str, Json]
    choices: list[Json]
    usage: ModelUsage


class _Choice(Value, frozen=True):
    message: dict[str, Any]
    finish_reason: str | None = None


class _Chat(Value, frozen=True):
    choices: list[_Choice]
    model: str = ""


class _Choices(Value, frozen=True):
    choices: list[Any]


_fault = msgspec.json.Decoder(_FaultBody)
_chat = msgspec.json.Decoder(_Chat)
_choices = msgspec.json.Decoder(_Choices)


def read_fault(reply: Answered) -> Fault:
    """The error that a reply tells of; one without words for a reply that tells of none."""
    try:
        return _fault.decode(reply.body).error
    except UNREADABLE:
        return Fault()


def fault_of(reply: Answered) -> str:
    """What went wrong, in a line."""
    if reply.status < 300:
        return "the reply cannot be read"
    fault = read_fault(reply)
    return f"{reply.status} {fault.code or ''}: {fault.message}".strip()


def read_chat_reply(reply: Answered, asked_model: str) -> Replied | None:
    """The reply of a chat completion; None for anything else."""
    try:
        found = _chat.decode(reply.body)
        choices = _choices.decode(reply.body).choices
    except UNREADABLE:
        return None
    if not found.choices:
        return None
    first = found.choices[0]
    text, refusal = first.message.get("content"), first.message.get("refusal")
    return Replied(
        text if isinstance(text, str) else "",
        refusal if isinstance(refusal, str) and refusal else None,
        first.finish_reason or "",
        first.message,
        choices,
        model_usage(found.model or asked_model, reply.body),
    )


def model_usage(model: str, body: bytes) -> ModelUsage:
    """One call's usage of a model, as its reply has it."""
    told = usage_of_body(body)
    if told is None:
        return ModelUsage(model)
    return ModelUsage(model, 1, told.input_tokens, told.output_tokens, told.cached_tokens)
