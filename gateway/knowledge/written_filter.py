"""Filters as callers write them: `{type, key, value}`, and `{type: and|or, filters: [...]}`."""

from typing import Any, get_args

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.facts import AttributeValue
from gateway.knowledge.filters import Comparing, Comparison, Compound, Filter

MOST_DEPTH = 8
MOST_COMPARISONS = 128
MOST_VALUES = 512
_KINDS: dict[str, Comparing] = {kind: kind for kind in get_args(Comparing)}


class _Written(msgspec.Struct):
    type: Any = None
    key: Any = None
    value: Any = None
    filters: Any = None


def filter_of(written: object, param: str = "filters") -> Filter | None:
    """The filter; None for null and for an empty object. Raises InvalidRequest (400) naming what is wrong where."""
    if written is None or written == {}:
        return None
    return _Reader().read(written, param, 1)


class _Reader:
    """Counts what it has read: a filter is evaluated for every document."""

    def __init__(self) -> None:
        self._comparisons = 0

    def read(self, written: object, param: str, depth: int) -> Filter:
        """One filter with those in it."""
        try:
            one = msgspec.convert(written, _Written)
        except msgspec.ValidationError:
            raise InvalidRequest(f"{param} must be an object.", param=param) from None
        if one.type in {"and", "or"}:
            return self._compound(one, param, depth)
        kind = _KINDS.get(one.type) if isinstance(one.type, str) else None
        if kind is None:
            known = ", ".join(_KINDS)
            raise InvalidRequest(
                f"{param}.type is {one.type!r}; it must be one of {known}, and, or.", param=f"{param}.type"
            )
        return self._comparison(one, kind, param)

    def _compound(self, one: _Written, param: str, depth: int) -> Filter:
        if not isinstance(one.filters, list) or not one.filters:
            raise InvalidRequest(f"{param}.filters must be a list of at least one filter.", param=param)
        if depth >= MOST_DEPTH:
            raise InvalidRequest(f"{param} is nested too deeply; at most {MOST_DEPTH} levels.", param=param)
        inner = [self.read(each, f"{param}.filters[{place}]", depth + 1) for place, each in enumerate(one.filters)]
        return Compound("and" if one.type == "and" else "or", tuple(inner))

    def _comparison(self, one: _Written, kind: Comparing, param: str) -> Filter:
        self._comparisons += 1
        if self._comparisons > MOST_COMPARISONS:
            raise InvalidRequest(f"{param}: at most {MOST_COMPARISONS} comparisons in a filter.", param=param)
        if not isinstance(one.key, str) or not one.key:
            raise InvalidRequest(f"{param}.key must be the name of an attribute.", param=param)
        if kind in {"in", "nin"}:
            if not isinstance(one.value, list) or len(one.value) > MOST_VALUES:
                raise InvalidRequest(f"{param}.value must be a list of at most {MOST_VALUES} values.", param=param)
            return Comparison(one.key, kind, tuple(_value(each, param) for each in one.value))
        return Comparison(one.key, kind, _value(one.value, param))


def _value(written: object, param: str) -> AttributeValue:
    if isinstance(written, bool | str):
        return written
    if isinstance(written, int | float):
        return float(written)
    raise InvalidRequest(f"{param}.value must be a string, a number or a boolean.", param=param)
