"""POST /v1/completions (the legacy endpoint): what a policy needs of it."""

from typing import Any

import msgspec

from gateway.core.call import Call, Inbound, Turn
from gateway.wire.caller import asked_path, caller_metadata
from gateway.wire.chat import StreamOptions
from gateway.wire.json_object import decode


class CompletionsBody(msgspec.Struct):
    """The fields read; all others stay in the bytes."""

    model: str
    prompt: Any = ""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    best_of: int | None = None
    max_tokens: int | None = None
    metadata: Any = None
    temperature: Any = None
    user: Any = None


_decoder = msgspec.json.Decoder(CompletionsBody)
# OpenAI's own default for this endpoint.
DEFAULT_LIMIT = 16


def read_completions(inbound: Inbound) -> Call:
    """The call. Raises InvalidRequest (400) naming the field that is missing or of the wrong type."""
    body = decode(inbound.body, _decoder)
    prompts = body.prompt if isinstance(body.prompt, list) else [body.prompt]
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    text = "\n".join(texts)
    # A list of strings, or of lists of tokens, is a batch of prompts; a list of numbers is one prompt in tokens.
    batch = sum(isinstance(prompt, (str, list)) for prompt in prompts) or 1
    return Call(
        inbound=inbound,
        endpoint="completions",
        model=body.model,
        stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        turns=(Turn("user", text),),
        text=text,
        choices=max(1, body.n or 1, body.best_of or 1) * batch,
        output_limit=body.max_tokens or DEFAULT_LIMIT,
        metadata=caller_metadata(inbound, body.metadata),
        prompt_bytes=len(inbound.body),
        asked_path=asked_path(inbound),
        temperature=body.temperature if isinstance(body.temperature, (int, float)) else None,
        user=body.user if isinstance(body.user, str) else "",
    )
