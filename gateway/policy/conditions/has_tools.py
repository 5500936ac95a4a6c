"""Whether the call brings tools."""

from gateway.policy.condition import Check, Condition


def _compile(wanted: bool) -> Check:  # noqa: FBT001  # the YAML value itself
    return lambda call, _principal, _facts: call.has_tools is wanted


CONDITION = Condition(
    summary="the call brings tools (true) or none (false)",
    example="has_tools: false",
    value=bool,
    compile=_compile,
    observed=lambda call, _principal, _facts: call.has_tools,
)
