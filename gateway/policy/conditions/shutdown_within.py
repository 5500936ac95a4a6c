"""How soon the model that the caller asked for is shut down."""

import operator
from typing import Annotated

from pydantic import Field

from gateway.core.errors import ModelNotFound
from gateway.policy.condition import Check, Compiling, Condition
from gateway.policy.seen import Seen


def _compile(days: int, compiling: Compiling) -> Check:
    end_of = compiling.catalogue.end_of

    def check(seen: Seen) -> bool:
        try:
            end = end_of(seen.names.model)
        except ModelNotFound:
            return False
        return end is not None and (end.day - seen.facts.today).days <= days

    return check


CONDITION = Condition(
    summary="the line asked for has this many days or fewer to its shutdown date, or is past it",
    example="shutdown_within: 30",
    value=Annotated[int, Field(ge=0, le=3650)],
    compile=_compile,
    observed=lambda seen: f"{seen.names.model} on {seen.facts.today}",
    covers=operator.ge,
)
