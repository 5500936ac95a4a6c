"""Which team calls."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Condition, one_or_many


def _compile(teams: list[str]) -> Check:
    wanted = frozenset(teams)
    return lambda _call, principal, _facts: principal.team in wanted


CONDITION = Condition(
    summary="the caller's team is one of these",
    example="team: [support]",
    value=Annotated[list[str], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda _call, principal, _facts: principal.team,
)
