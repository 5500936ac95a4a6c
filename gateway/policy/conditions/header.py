"""What a request header says."""

from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.policy.condition import Check, Compiling, Condition, Cost, contradict, fewer_pairs

# What a rule looks at is recorded with the decision.
SECRET = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "api-key"})


def _no_secrets(pairs: dict[str, str]) -> dict[str, str]:
    for name in pairs:
        if name.lower() in SECRET:
            raise ValueError(f"{name!r} carries credentials, which no rule looks at")
    return pairs


def _compile(wanted: dict[str, str], compiling: Compiling) -> Check:
    pairs = tuple((name.lower(), value) for name, value in wanted.items())
    compiling.header_names.update(name.encode() for name, _ in pairs)
    # The first value counts where a header stands twice, as `Inbound.header` has it.
    return lambda seen: all(
        next((value for name, value in seen.names.headers if name == wanted_name), None) == wanted_value
        for wanted_name, wanted_value in pairs
    )


def _lower(pairs: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in pairs.items()}


CONDITION = Condition(
    summary="every named request header has exactly this value; names in any case",
    example="header: {x-channel: email}",
    value=Annotated[dict[str, str], Field(min_length=1), AfterValidator(_no_secrets)],
    compile=_compile,
    # Values of headers may be secrets: a trace names the headers and not what they hold.
    observed=lambda seen: sorted({name for name, _ in seen.names.headers}),
    cost=Cost.NAME,
    covers=lambda wide, narrow: fewer_pairs(_lower(wide), _lower(narrow)),
    excludes=lambda one, other: contradict(_lower(one), _lower(other)),
)
