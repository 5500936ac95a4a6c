"""Whether the call brings tools."""

import operator

from gateway.policy.condition import Check, Compiling, Condition, Cost


def _compile(wanted: bool, _compiling: Compiling) -> Check:  # noqa: FBT001  # the YAML value itself
    return lambda seen: seen.names.has_tools is wanted


CONDITION = Condition(
    summary="the call brings tools (true) or none (false)",
    example="has_tools: false",
    value=bool,
    compile=_compile,
    observed=lambda seen: seen.names.has_tools,
    cost=Cost.NAME,
    excludes=operator.ne,
)
