"""Which path the caller asks for with `x-gateway-path`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Condition, one_or_many


def _compile(paths: list[str]) -> Check:
    wanted = frozenset(paths)
    return lambda call, _principal, _facts: call.asked_path in wanted


CONDITION = Condition(
    summary="the caller asks for one of these paths with the header `x-gateway-path`",
    example="asked_path: [rag]",
    value=Annotated[list[Literal["fine_tuned", "rag", "direct"]], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda call, _principal, _facts: call.asked_path,
)
