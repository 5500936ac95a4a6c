"""Which path the caller asks for with `x-gateway-path`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Compiling, Condition, Cost, holds_all, one_or_many, share_none


def _compile(paths: list[str], _compiling: Compiling) -> Check:
    wanted = frozenset(paths)
    return lambda seen: seen.names.asked_path in wanted


CONDITION = Condition(
    summary="the caller asks for one of these paths with the header `x-gateway-path`",
    example="asked_path: [rag]",
    value=Annotated[list[Literal["fine_tuned", "rag", "direct"]], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda seen: seen.names.asked_path,
    cost=Cost.NAME,
    covers=holds_all,
    excludes=share_none,
)
