"""Structured outputs and tool arguments have to be valid JSON of the caller's schema."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from gateway.offline.schema import NoInstance, smallest_instance


class Leaf(BaseModel):
    name: str = Field(min_length=3, max_length=8)
    number: int = Field(ge=5, le=9)
    ratio: float = Field(gt=0, lt=1)
    kind: str | None


class Tree(BaseModel):
    leaves: list[Leaf] = Field(min_length=2)
    child: "Tree | None"
    labels: dict[str, str]


def test_an_instance_of_a_pydantic_schema_is_valid() -> None:
    found = Tree.model_validate(smallest_instance(Tree.model_json_schema()))
    assert len(found.leaves) == 2


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": 5}, 5),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": ["null", "string"]}, None),
        ({"type": "boolean"}, True),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {}),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2}, [None, None]),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "integer", "exclusiveMaximum": -3}, -4),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
                    {"properties": {"b": {"const": 2}}, "required": ["b"]},
                ]
            },
            {"a": 1, "b": 2},
        ),
        ({"anyOf": [False, {"const": 2}]}, 2),
        ({"$ref": "#/$defs/x~1y", "$defs": {"x/y": {"const": 3}}}, 3),
    ],
)
def test_the_smallest_value_that_fits(schema: Any, expected: Any) -> None:
    assert smallest_instance(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"type": "nothing"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"anyOf": [{"$ref": "#"}] * 10},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1000},
    ],
)
def test_a_schema_that_no_finite_value_fits_is_named_so(schema: Any) -> None:
    with pytest.raises(NoInstance):
        smallest_instance(schema)


@given(st.integers(-1000, 1000), st.integers(0, 50), st.integers(0, 5))
def test_limits_are_kept(low: int, span: int, count: int) -> None:
    number = {"type": "integer", "minimum": low, "maximum": low + span}
    found = smallest_instance({"type": "array", "items": number, "minItems": count})
    assert len(found) == count
    assert all(low <= one <= low + span for one in found)
