"""Which of a team's keys is used, by its name."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Compiling, Condition, Cost, holds_all, one_or_many, share_none


def _compile(names: list[str], _compiling: Compiling) -> Check:
    wanted = frozenset(names)
    return lambda seen: seen.names.key in wanted


CONDITION = Condition(
    summary="the caller's key has one of these names",
    example="key: [nightly-batch]",
    value=Annotated[list[str], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda seen: seen.names.key,
    cost=Cost.NAME,
    covers=holds_all,
    excludes=share_none,
)
