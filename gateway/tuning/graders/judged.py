"""Asking a model for a judgement, through the gateway itself, and reading it."""

from collections.abc import Sequence

import msgspec

from gateway.core.answered import Ask
from gateway.core.json_value import Json
from gateway.core.values import Value
from gateway.tuning.graders.graded import FINE, Errors, ModelUsage
from gateway.tuning.graders.messages import Message, as_chat
from gateway.tuning.graders.replies import UNREADABLE, fault_of, read_chat_reply
from gateway.tuning.graders.template import Subject

CHAT = "/v1/chat/completions"
STEPS: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"description": {"type": "string"}, "conclusion": {"type": "string"}},
        "required": ["description", "conclusion"],
        "additionalProperties": False,
    },
}


class Judged(Value, frozen=True):
    """result: what the model said under that name, or None and what went wrong. said: its words."""

    result: Json = None
    errors: Errors = FINE
    usage: tuple[ModelUsage, ...] = ()
    said: str | None = None


class _Verdict(Value, frozen=True):
    result: float | str | bool | None = None


_verdict = msgspec.json.Decoder(_Verdict)


async def judged(
    model: str,
    messages: Sequence[Message],
    result: dict[str, Json],
    telling: str,
    subject: Subject,
    ask: Ask,
    sampling: dict[str, Json] | None = None,
) -> Judged:
    """One judgement of one model.

    result: the JSON Schema of what is wanted. telling: the same in words, for models that take no schema. Raises
    UnknownVariable.
    """
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {"steps": STEPS, "result": result},
        "required": ["steps", "result"],
        "additionalProperties": False,
    }
    wanted: Json = {"type": "json_schema", "json_schema": {"name": "grade", "strict": True, "schema": schema}}
    chat = _instructed(as_chat(messages, subject), telling)
    body: dict[str, Json] = {"model": model, "messages": chat, "response_format": wanted, **(sampling or {})}
    reply = await ask(CHAT, msgspec.json.encode(body))
    told = read_chat_reply(reply, model) if reply.status < 300 else None
    if told is None:
        errors = Errors(model_grader_server_error=True, model_grader_server_error_details=fault_of(reply))
        return Judged(errors=errors)
    usage = (told.usage,)
    if told.refusal is not None:
        errors = Errors(model_grader_refusal_error=True, details=told.refusal)
        return Judged(errors=errors, usage=usage, said=told.refusal)
    try:
        verdict = _verdict.decode(told.text.encode()).result
    except (*UNREADABLE, UnicodeEncodeError):
        verdict = None
    if verdict is None:
        errors = Errors(model_grader_parse_error=True, details="the model's reply has no readable `result`")
        return Judged(errors=errors, usage=usage, said=told.text)
    return Judged(verdict, usage=usage, said=told.text)


def _instructed(chat: list[Json], telling: str) -> list[Json]:
    """The messages with what is wanted in words: in the first system prompt, as some templates take only one."""
    told = f"Reply with a JSON object that has `steps`, a list of your findings, and `result`: {telling}"
    first = chat[0]
    if isinstance(first, dict) and first["role"] in ("system", "developer") and isinstance(first["content"], str):
        return [{"role": first["role"], "content": f"{first['content']}\n\n{told}"}, *chat[1:]]
    return [{"role": "system", "content": told}, *chat]
