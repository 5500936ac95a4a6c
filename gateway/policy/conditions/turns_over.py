"""How long the conversation is."""

import operator
from typing import Annotated

from pydantic import Field

from gateway.policy.condition import Check, Compiling, Condition


def _compile(limit: int, _compiling: Compiling) -> Check:
    return lambda seen: seen.features.turns > limit


CONDITION = Condition(
    summary="the call has more messages than this, system prompts not counted",
    example="turns_over: 10",
    value=Annotated[int, Field(ge=0)],
    compile=_compile,
    observed=lambda seen: seen.features.turns,
    covers=operator.le,
)
