"""Which of a team's keys is used, by its name."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Condition, one_or_many


def _compile(names: list[str]) -> Check:
    wanted = frozenset(names)
    return lambda _call, principal, _facts: principal.key_name in wanted


CONDITION = Condition(
    summary="the caller's key has one of these names",
    example="key: [nightly-batch]",
    value=Annotated[list[str], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda _call, principal, _facts: principal.key_name,
)
