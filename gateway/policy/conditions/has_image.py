"""Whether the call shows an image."""

import operator

from gateway.policy.condition import Check, Compiling, Condition


def _compile(wanted: bool, _compiling: Compiling) -> Check:  # noqa: FBT001  # the YAML value itself
    return lambda seen: seen.features.has_image is wanted


CONDITION = Condition(
    summary="a message of the call shows an image (true) or none does (false)",
    example="has_image: true",
    value=bool,
    compile=_compile,
    observed=lambda seen: seen.features.has_image,
    excludes=operator.ne,
)
