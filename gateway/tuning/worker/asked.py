"""A chat completion as the serving worker reads it, and says that it cannot be."""

from typing import Any

import msgspec

from gateway.core.values import Value
from gateway.tuning.worker.examples import Turns, read_turn

_MOST_STOPS = 4


class Refused(Exception):
    """A reply other than the one asked for, in OpenAI's shape."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {
                "message": message,
                "type": "server_error" if status >= 500 else "invalid_request_error",
                "param": param,
                "code": code,
            }
        }


class Ask(Value, frozen=True):
    """What is to be answered. most: tokens, None for as many as fit. temperature 0: always the likeliest token."""

    model: str
    turns: Turns
    tools: list[Any]
    most: int | None
    temperature: float
    top_p: float
    stops: tuple[str, ...]
    seed: int | None
    is_stream: bool
    has_usage: bool


class _Options(msgspec.Struct):
    include_usage: bool = False


class _Format(msgspec.Struct):
    type: str = "text"


class _Body(msgspec.Struct):
    model: str
    messages: list[Any]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: _Options | None = None
    tools: list[Any] | None = None
    n: int | None = None
    logprobs: bool | None = None
    response_format: _Format | None = None


_decode = msgspec.json.Decoder(_Body).decode


def read_ask(body: bytes) -> Ask:
    """Raises Refused (400) with everything that is wrong with it."""
    try:
        found = _decode(body)
    except msgspec.DecodeError as fault:
        raise Refused(400, f"The body cannot be read: {fault}.") from None
    turns, faults = _turns(found.messages)
    faults += _limits(found)
    if faults:
        raise Refused(400, " ".join(faults))
    stops = [found.stop] if isinstance(found.stop, str) else found.stop or []
    return Ask(
        model=found.model,
        turns=turns,
        tools=found.tools or [],
        most=found.max_completion_tokens if found.max_completion_tokens is not None else found.max_tokens,
        temperature=found.temperature or 0.0,
        top_p=1.0 if found.top_p is None else found.top_p,
        stops=tuple(stop for stop in stops if stop),
        seed=found.seed,
        is_stream=bool(found.stream),
        has_usage=found.stream_options is not None and found.stream_options.include_usage,
    )


def _turns(messages: list[Any]) -> tuple[Turns, list[str]]:
    turns: Turns = []
    faults = [] if messages else ["`messages` is empty."]
    for index, message in enumerate(messages):
        try:
            turns.append(read_turn(message))
        except ValueError as fault:
            faults.append(f"messages[{index}]: {fault}.")
    return turns, faults


def _limits(found: _Body) -> list[str]:
    most = [
        value for value in (found.max_tokens, found.max_completion_tokens, found.n) if value is not None and value < 1
    ]
    stops = found.stop if isinstance(found.stop, list) else []
    wrong = {
        "max_tokens, max_completion_tokens and n are 1 or more.": bool(most),
        "temperature lies between 0 and 2.": found.temperature is not None and not 0 <= found.temperature <= 2,
        "top_p lies over 0 and up to 1.": found.top_p is not None and not 0 < found.top_p <= 1,
        f"stop has at most {_MOST_STOPS} texts.": len(stops) > _MOST_STOPS,
        "n over 1 is not served here.": found.n is not None and found.n > 1,
        "logprobs are not served here.": bool(found.logprobs),
        "response_format other than text is not served here.": (
            found.response_format is not None and found.response_format.type != "text"
        ),
    }
    return [text for text, is_so in wrong.items() if is_so]
