"""What the caller's metadata says."""

from typing import Annotated

from pydantic import Field

from gateway.policy.condition import Check, Compiling, Condition, Cost, contradict, fewer_pairs


def _compile(wanted: dict[str, str], compiling: Compiling) -> Check:
    pairs = frozenset(wanted.items())
    compiling.metadata_keys.update(wanted)
    return lambda seen: pairs <= frozenset(seen.names.metadata)


CONDITION = Condition(
    summary="every named metadata key has this value (from the body's `metadata` or `x-gateway-metadata`)",
    example="metadata: {feature: refunds}",
    value=Annotated[dict[str, str], Field(min_length=1)],
    compile=_compile,
    observed=lambda seen: dict(seen.names.metadata),
    cost=Cost.NAME,
    covers=fewer_pairs,
    excludes=contradict,
)
