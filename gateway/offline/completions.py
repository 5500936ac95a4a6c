"""POST /v1/completions, the older text completion."""

import time
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from gateway.core.call import Turn
from gateway.core.ids import new_id
from gateway.offline.answers import Said, limited, plain_answer
from gateway.offline.chat import FINGERPRINT, chat_usage, logprob_of
from gateway.offline.requests import CompletionRequest, stops_of
from gateway.offline.tokens import count_tokens, pieces_of
from gateway.offline.work import Event, Work, sse

DEFAULT_MAX_TOKENS = 16  # OpenAI's own default on this endpoint, and on no other.


def answer_completion(request: CompletionRequest, *, with_usage: bool) -> Work:
    """The answer to a text completion: one choice per prompt and n, in that order."""
    prompts = prompts_of(request.prompt)
    answers = [_said(request, text) for text, _ in prompts for _ in range(request.n or 1)]
    prompt_tokens = sum(tokens for _, tokens in prompts)
    # An echoed prompt is not generated, so it is not counted again.
    completion_tokens = sum(said.tokens for said in answers)
    if request.echo:
        completion_tokens -= sum(count_tokens(text) for text, _ in prompts) * (request.n or 1)
    frame: dict[str, Any] = {
        "id": new_id("cmpl").replace("_", "-"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.model,
        "system_fingerprint": FINGERPRINT,
    }
    usage = chat_usage(prompt_tokens, completion_tokens)
    work = Work(
        id=frame["id"],
        model=request.model,
        endpoint="/v1/completions",
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
    )
    if request.stream:
        asked = bool(request.stream_options and request.stream_options.include_usage) and with_usage
        work.stream = _events(frame, answers, usage if asked else None)
    else:
        choices = [_choice(request, index, said) for index, said in enumerate(answers)]
        work.whole = {**frame, "choices": choices, **({"usage": usage} if with_usage else {})}
    return work


def prompts_of(prompt: str | list[str | int | list[int]]) -> list[tuple[str, int]]:
    """Each prompt as text with its count of tokens; token ids are counted, and have no text here."""
    if isinstance(prompt, str):
        return [(prompt, count_tokens(prompt))]
    ids = [one for one in prompt if isinstance(one, int)]
    if ids:
        return [("", len(ids))]
    return [
        (one, count_tokens(one)) if isinstance(one, str) else ("", len(one))
        for one in prompt
        if not isinstance(one, int)
    ]


def _said(request: CompletionRequest, prompt: str) -> Said:
    text = plain_answer(request.model, (Turn(role="user", text=prompt),))
    said = limited(text, request.max_tokens or DEFAULT_MAX_TOKENS, stops_of(request.stop))
    if not request.echo:
        return said
    return Said(pieces=(*pieces_of(prompt), *said.pieces), cut=said.cut)


def _choice(request: CompletionRequest, index: int, said: Said) -> dict[str, Any]:
    logprobs = None
    if request.logprobs is not None:
        values = [logprob_of(piece) for piece in said.pieces]
        logprobs = {
            "tokens": said.pieces,
            "token_logprobs": values,
            "top_logprobs": [{piece: value} for piece, value in zip(said.pieces, values, strict=True)],
            "text_offset": [0, *accumulate(map(len, said.pieces))][: len(said.pieces)],
        }
    return {"index": index, "text": said.text, "logprobs": logprobs, "finish_reason": _reason(said)}


def _reason(said: Said) -> str:
    return "length" if said.cut else "stop"


def _events(frame: dict[str, Any], answers: list[Said], usage: dict[str, Any] | None) -> Iterator[Event]:
    extra = {"usage": None} if usage else {}
    for index, said in enumerate(answers):
        for piece in said.pieces:
            choice = {"index": index, "text": piece, "logprobs": None, "finish_reason": None}
            yield Event(data=sse({**frame, "choices": [choice], **extra}), tokens=1)
        choice = {"index": index, "text": "", "logprobs": None, "finish_reason": _reason(said)}
        yield Event(data=sse({**frame, "choices": [choice], **extra}))
    if usage:
        yield Event(data=sse({**frame, "choices": [], "usage": usage}))
