"""What the last user turn looks like: a regular expression, found anywhere in it."""

from typing import Annotated

import re2
from pydantic import AfterValidator

from gateway.policy.condition import Check, Condition

# A caller chooses the text; a match past this size says more about the caller than about the question.
MAX_TEXT = 100_000


def _compiles(pattern: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error as fault:
        reason = fault.args[0] if fault.args else "not understood"
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a regular expression that RE2 takes: {text}") from None
    return pattern


def _compile(pattern: str) -> Check:
    # RE2 runs in linear time whatever the pattern: no text can make it backtrack for ever.
    search = re2.compile(pattern).search
    return lambda call, _principal, _facts: search(call.text[:MAX_TEXT]) is not None


CONDITION = Condition(
    summary="the last user turn matches this RE2 regular expression; `(?i)` ignores case",
    example="text_matches: '(?i)\\brefund'",
    value=Annotated[str, AfterValidator(_compiles)],
    compile=_compile,
    observed=lambda call, _principal, _facts: f"{len(call.text)} characters",
)
