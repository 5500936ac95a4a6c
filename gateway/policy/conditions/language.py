"""Which language the last user turn is in."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Compiling, Condition, Cost, holds_all, one_or_many, share_none
from gateway.policy.language import language_of

Code = Annotated[str, Field(pattern="^[a-z]{2}$")]


def _no_is_no_boolean(value: object) -> object:
    # YAML takes a bare `no` for false, and Norwegian for it.
    many = value if isinstance(value, list) else [value]
    return ["no" if code is False else code for code in many]


def _compile(codes: list[str], _compiling: Compiling) -> Check:
    wanted = frozenset(codes)
    # Loaded with the policy, off the calls' way, and not by the first call that asks.
    language_of("")
    return lambda seen: seen.language in wanted


CONDITION = Condition(
    summary="the last user turn is in one of these languages (ISO 639-1); a guess for a few words",
    example="language: [de, fr]",
    value=Annotated[list[Code], BeforeValidator(one_or_many), BeforeValidator(_no_is_no_boolean), Field(min_length=1)],
    compile=_compile,
    # None when nobody asked: a record has no text to ask of.
    observed=lambda seen: seen.features.language,
    cost=Cost.TEXT,
    covers=holds_all,
    excludes=share_none,
)
