"""How much of its month's budget the team has used."""

import operator
from typing import Annotated

from pydantic import Field

from gateway.policy.condition import Check, Compiling, Condition


def _compile(share: float, _compiling: Compiling) -> Check:
    # Without a budget nothing of it is used: whoever has no limit is never near it.
    return lambda seen: (seen.facts.budget_used or 0.0) > share


CONDITION = Condition(
    summary="more than this share of the team's monthly budget is spent or reserved; never without a budget",
    example="budget_used_over: 0.9",
    value=Annotated[float, Field(ge=0, le=1)],
    compile=_compile,
    observed=lambda seen: seen.facts.budget_used,
    covers=operator.le,
)
