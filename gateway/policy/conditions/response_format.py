"""The form in which the caller wants the answer."""

from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Compiling, Condition, holds_all, one_or_many, share_none

Format = Literal["text", "json_object", "json_schema", "other"]


def _compile(formats: list[str], _compiling: Compiling) -> Check:
    wanted = frozenset(formats)
    return lambda seen: seen.features.response_format in wanted


CONDITION = Condition(
    summary="the answer is asked for as one of text, json_object, json_schema, other",
    example="response_format: [json_object, json_schema]",
    value=Annotated[list[Format], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda seen: seen.features.response_format,
    covers=holds_all,
    excludes=share_none,
    always=lambda formats: set(formats) == set(get_args(Format)),
)
