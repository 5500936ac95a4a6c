"""How long the last user turn is."""

import operator
from typing import Annotated

from pydantic import Field

from gateway.policy.condition import Check, Compiling, Condition


def _compile(limit: int, _compiling: Compiling) -> Check:
    return lambda seen: seen.features.characters > limit


CONDITION = Condition(
    summary="the last user turn has more characters than this",
    example="characters_over: 2000",
    value=Annotated[int, Field(ge=0)],
    compile=_compile,
    observed=lambda seen: seen.features.characters,
    covers=operator.le,
)
