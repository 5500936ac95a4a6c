"""Asking the model of a run for its answer to an item, by a chat completion or a response."""

from typing import Any

import msgspec

from gateway.core.answered import Answered, Ask
from gateway.core.json_value import Json
from gateway.core.values import Value
from gateway.tuning.evals.data_source import Asked
from gateway.tuning.evals.prompts import ItemReference, SamplingParams
from gateway.tuning.evals.values import Sampled
from gateway.tuning.graders.judged import CHAT
from gateway.tuning.graders.messages import as_chat, as_input
from gateway.tuning.graders.replies import (
    UNREADABLE,
    fault_of,
    model_usage,
    read_chat_reply,
    read_fault,
)
from gateway.tuning.graders.template import Subject, looked_up, reference_of, sample_of

RESPONSES = "/v1/responses"
NO_ANSWER = "unreadable_reply"


class _Output(Value, frozen=True):
    """An output item of a response; what it holds depends on its type."""

    type: str = ""
    content: tuple[dict[str, Any], ...] = ()
    name: str = ""
    call_id: str = ""
    arguments: str = ""


class _Response(Value, frozen=True):
    output: list[_Output]
    status: str = ""
    model: str = ""


_response = msgspec.json.Decoder(_Response)


async def sampled(source: Asked, item: Json, ask: Ask) -> Sampled:
    """The model's answer. Raises UnknownVariable, and what `ask` raises."""
    is_chat = source.type == "completions"
    messages = _messages(source, Subject(item))
    params = _chat_params(source.sampling_params) if is_chat else _response_params(source.sampling_params)
    name = "messages" if is_chat else "input"
    body: dict[str, Json] = {"model": source.model, name: messages, **params}
    reply = await ask(CHAT if is_chat else RESPONSES, msgspec.json.encode(body))
    if reply.status >= 300:
        return Sampled(messages, {}, error=(read_fault(reply).code or str(reply.status), fault_of(reply)))
    found = _of_chat(reply, source.model, messages) if is_chat else _of_response(reply, source.model, messages)
    return found or Sampled(messages, {}, error=(NO_ANSWER, "the model's reply cannot be read"))


def _messages(source: Asked, subject: Subject) -> list[Json]:
    asked = source.input_messages
    if isinstance(asked, ItemReference):
        found = looked_up(reference_of(asked.item_reference), subject)
        return found if isinstance(found, list) else []
    return as_chat(asked.template, subject) if source.type == "completions" else as_input(asked.template, subject)


def _chat_params(params: SamplingParams | None) -> dict[str, Json]:
    return {} if params is None else params.model_dump(exclude_none=True, exclude={"text"})


def _response_params(params: SamplingParams | None) -> dict[str, Json]:
    """A response takes no seed. It is not stored upstream: what is kept of it is kept here."""
    made: dict[str, Json] = {"store": False}
    if params is None:
        return made
    told = params.model_dump(exclude_none=True, exclude={"seed", "response_format"})
    if "max_completion_tokens" in told:
        told["max_output_tokens"] = told.pop("max_completion_tokens")
    if "reasoning_effort" in told:
        told["reasoning"] = {"effort": told.pop("reasoning_effort")}
    return made | told


def _of_chat(reply: Answered, model: str, messages: list[Json]) -> Sampled | None:
    told = read_chat_reply(reply, model)
    if told is None:
        return None
    namespace = sample_of(told.text, told.message, told.choices)
    return Sampled(messages, namespace, told.finish_reason, told.usage)


def _of_response(reply: Answered, model: str, messages: list[Json]) -> Sampled | None:
    try:
        found = _response.decode(reply.body)
    except UNREADABLE:
        return None
    parts = [part.get("text") for one in found.output if one.type == "message" for part in one.content]
    text = "".join(part for part in parts if isinstance(part, str))
    tools: list[Json] = [
        {"id": one.call_id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
        for one in found.output
        if one.type == "function_call"
    ]
    message: dict[str, Json] = {"role": "assistant", "content": text}
    if tools:
        message["tool_calls"] = tools
    ended = "stop" if found.status == "completed" else "length" if found.status == "incomplete" else found.status
    return Sampled(messages, sample_of(text, message), ended, model_usage(found.model or model, reply.body))
