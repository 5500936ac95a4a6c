"""Which model the caller asked for; a trailing `*` matches any ending."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.policy.condition import Check, Compiling, Condition, Cost, one_or_many


def _compile(names: list[str], _compiling: Compiling) -> Check:
    exact = frozenset(name for name in names if not name.endswith("*"))
    beginnings = tuple(name[:-1] for name in names if name.endswith("*"))
    if not beginnings:
        return lambda seen: seen.names.model in exact
    return lambda seen: seen.names.model in exact or seen.names.model.startswith(beginnings)


def _covers(wide: list[str], narrow: list[str]) -> bool:
    return all(any(_takes(pattern, name) for pattern in wide) for name in narrow)


def _takes(pattern: str, name: str) -> bool:
    """Whether every model that `name` matches matches `pattern` too."""
    return name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1]))


def _excludes(one: list[str], other: list[str]) -> bool:
    return not any(_takes(left, right) or _takes(right, left) for left in one for right in other)


CONDITION = Condition(
    summary="the model asked for is one of these; `gpt-4*` matches by its beginning",
    example="model: [auto, kb/help-centre]",
    value=Annotated[list[str], BeforeValidator(one_or_many), Field(min_length=1)],
    compile=_compile,
    observed=lambda seen: seen.names.model,
    cost=Cost.NAME,
    covers=_covers,
    excludes=_excludes,
    always=lambda names: "*" in names,
)
