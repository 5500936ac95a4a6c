"""What the last user turn looks like: a regular expression, found anywhere in it."""

from typing import Annotated

import re2
from pydantic import AfterValidator

from gateway.policy.condition import Check, Compiling, Condition, Cost

# The time is linear in the text, but the steps are what it is multiplied by: at this many, the longest text that is
# looked at takes some 0.5 s where a caller means to make it slow. `.{0,200}` has 1,800.
MOST_STEPS = 2_000
# Whoever means something by a pattern means to leave out one of these.
TEXTS = ("a", "Z9", " ", "-- ?!", "été 日本語", "one\ntwo", "".join(map(chr, range(32, 127))) * 50)


def _compiles(pattern: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        size = re2.compile(pattern, options).programsize
    except re2.error as fault:
        reason = fault.args[0] if fault.args else "not understood"
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a regular expression that RE2 takes: {text}") from None
    if size > MOST_STEPS:
        raise ValueError(f"it has {size:,} steps and {MOST_STEPS:,} are taken; counted repetitions make many")
    return pattern


def _compile(pattern: str, compiling: Compiling) -> Check:
    number = compiling.pattern(pattern)
    return lambda seen: seen.matches(number)


def _takes_all(pattern: str) -> bool:
    compiled = re2.compile(pattern)
    return all(compiled.search(text) for text in TEXTS)


CONDITION = Condition(
    summary="the last user turn (its first 20,000 characters) matches this RE2 regular expression; `(?i)` ignores case",
    example="text_matches: '(?i)\\brefund'",
    # RE2 runs in linear time whatever the pattern: no text can make it backtrack for ever.
    value=Annotated[str, AfterValidator(_compiles)],
    compile=_compile,
    observed=lambda seen: f"{seen.features.characters} characters",
    cost=Cost.TEXT,
    always=_takes_all,
)
