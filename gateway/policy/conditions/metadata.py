"""What the caller's metadata says."""

from typing import Annotated

from pydantic import Field

from gateway.policy.condition import Check, Condition


def _compile(wanted: dict[str, str]) -> Check:
    pairs = frozenset(wanted.items())
    return lambda call, _principal, _facts: pairs <= frozenset(call.metadata)


CONDITION = Condition(
    summary="every named metadata key has this value (from the body's `metadata` or `x-gateway-metadata`)",
    example="metadata: {feature: refunds}",
    value=Annotated[dict[str, str], Field(min_length=1)],
    compile=_compile,
    observed=lambda call, _principal, _facts: dict(call.metadata),
)
