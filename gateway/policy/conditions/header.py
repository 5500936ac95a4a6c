"""What a request header says."""

from typing import Annotated

from pydantic import Field

from gateway.policy.condition import Check, Condition


def _compile(wanted: dict[str, str]) -> Check:
    pairs = tuple((name.lower().encode(), value.encode()) for name, value in wanted.items())
    return lambda call, _principal, _facts: all(call.inbound.header(name) == value for name, value in pairs)


CONDITION = Condition(
    summary="every named request header has exactly this value; names in any case",
    example="header: {x-channel: email}",
    value=Annotated[dict[str, str], Field(min_length=1)],
    compile=_compile,
    # Values of headers may be secrets: a trace names the headers and not what they hold.
    observed=lambda call, _principal, _facts: sorted(name.decode("latin-1") for name, _ in call.inbound.headers),
)
