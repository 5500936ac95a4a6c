"""Which team calls."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Compiling, Condition, Cost, holds_all, one_or_many, share_none


def _compile(teams: list[str], _compiling: Compiling) -> Check:
    wanted = frozenset(teams)
    return lambda seen: seen.names.team in wanted


CONDITION = Condition(
    summary="the caller's team is one of these",
    example="team: [support]",
    value=Annotated[list[str], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda seen: seen.names.team,
    cost=Cost.NAME,
    covers=holds_all,
    excludes=share_none,
)
