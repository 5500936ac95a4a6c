"""How long the prompt is."""

from typing import Annotated

from pydantic import Field

from gateway.policy.condition import Check, Condition


def _compile(limit: int) -> Check:
    return lambda call, _principal, _facts: call.prompt_tokens_estimate > limit


CONDITION = Condition(
    summary="the prompt has more tokens than this, estimated at 4 bytes a token",
    example="prompt_tokens_over: 8000",
    value=Annotated[int, Field(ge=0)],
    compile=_compile,
    observed=lambda call, _principal, _facts: call.prompt_tokens_estimate,
)
