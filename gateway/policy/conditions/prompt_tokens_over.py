"""How long the prompt is."""

import operator
from typing import Annotated

from pydantic import Field

from gateway.policy.condition import Check, Compiling, Condition


def _compile(limit: int, _compiling: Compiling) -> Check:
    return lambda seen: seen.features.prompt_tokens > limit


CONDITION = Condition(
    summary="the prompt has more tokens than this, estimated at 4 bytes a token",
    example="prompt_tokens_over: 8000",
    value=Annotated[int, Field(ge=0)],
    compile=_compile,
    observed=lambda seen: seen.features.prompt_tokens,
    covers=operator.le,
)
