"""Which model the caller asked for; a trailing `*` matches any ending."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Condition, one_or_many


def _compile(names: list[str]) -> Check:
    exact = frozenset(name for name in names if not name.endswith("*"))
    beginnings = tuple(name[:-1] for name in names if name.endswith("*"))
    if not beginnings:
        return lambda call, _principal, _facts: call.model in exact
    return lambda call, _principal, _facts: call.model in exact or call.model.startswith(beginnings)


CONDITION = Condition(
    summary="the model asked for is one of these; `gpt-4*` matches by its beginning",
    example="model: [auto, kb/help-centre]",
    value=Annotated[list[str], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda call, _principal, _facts: call.model,
)
