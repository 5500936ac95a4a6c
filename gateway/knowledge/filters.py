"""Filters on documents' attributes, as OpenAI's vector stores have them: comparisons, joined by `and` and `or`."""

from typing import Literal

from gateway.core.facts import Attributes, AttributeValue
from gateway.core.values import Value

Comparing = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]


class Comparison(Value, frozen=True):
    """One attribute beside a value. value: a tuple of values for `in` and `nin`, else one."""

    key: str
    type: Comparing
    value: AttributeValue | tuple[AttributeValue, ...]


class Compound(Value, frozen=True):
    """Several filters of which all (`and`) or one (`or`) must hold."""

    type: Literal["and", "or"]
    filters: "tuple[Filter, ...]"


Filter = Comparison | Compound


def matches(wanted: Filter, attributes: Attributes) -> bool:
    """Whether a document with these attributes passes.

    An attribute that is absent passes no comparison, `ne` and `nin` included: what is untagged is not let through
    by a filter on its tag. Values of different kinds are unequal and in no order; true is not 1.
    """
    if isinstance(wanted, Compound):
        results = (matches(one, attributes) for one in wanted.filters)
        return all(results) if wanted.type == "and" else any(results)
    for key, value in attributes:
        if key == wanted.key:
            return _compares(value, wanted)
    return False


def _compares(value: AttributeValue, wanted: Comparison) -> bool:
    other = wanted.value
    if isinstance(other, tuple):
        return any(_same(value, one) for one in other) == (wanted.type == "in")
    if wanted.type in {"eq", "ne"}:
        return _same(value, other) == (wanted.type == "eq")
    if isinstance(value, str) and isinstance(other, str):
        return _in_order(value < other, value == other, wanted.type)
    if isinstance(value, bool | str) or isinstance(other, bool | str):
        return False
    return _in_order(value < other, value == other, wanted.type)


def _in_order(less: bool, equal: bool, wanted: Comparing) -> bool:  # noqa: FBT001 - the two facts of an order
    return {"lt": less, "lte": less or equal, "gt": not less and not equal, "gte": not less}[wanted]


def _same(one: AttributeValue, other: AttributeValue) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other
