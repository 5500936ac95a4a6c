"""Schemas that somebody sent: all of JSON Schema, and nothing in one that keeps a gateway busy."""

from typing import Any

import pytest

from gateway.tuning.json_schemas import MOST_FAULTS, MOST_SCHEMA, MOST_STEPS, checked, faults_of

# Python's engine needs longer than the world for it.
CATASTROPHE = "^(a+)+$"
LONG = "a" * 40 + "!"


def faults(schema: dict[str, Any], value: object, root: str = "$") -> list[str]:
    ready = checked(schema)
    assert ready.validator is not None, ready.fault
    return faults_of(ready.validator, value, root)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"oneOf": [{"type": "string"}, {"const": 3}]}, "x", 2),
        ({"$defs": {"day": {"maximum": 31}}, "properties": {"d": {"$ref": "#/$defs/day"}}}, {"d": 31}, {"d": 32}),
        ({"pattern": "^[A-Z]{2}$"}, "AB", "ABC"),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, {"n_a": 1, "x": "y"}, {"n_a": "1"}),
        (
            {"properties": {"a": {}}, "patternProperties": {"^n_": {}}, "additionalProperties": False},
            {"a": 1, "n_b": 2},
            {"b": 1},
        ),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "null"}}, {"a": 1, "b": None}, {"b": 1}),
        ({"minItems": 2, "uniqueItems": True}, [1, 2], [1, 1]),
        ({"uniqueItems": True}, [1, True, "1", {"a": 1, "b": 2}], [{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]),
        ({"type": "integer"}, 2.0, True),
    ],
)
def test_a_value_fits_or_does_not(schema: dict[str, Any], good: object, bad: object) -> None:
    assert faults(schema, good) == []
    assert len(faults(schema, bad)) == 1


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": CATASTROPHE}, LONG),
        ({"patternProperties": {CATASTROPHE: False}, "additionalProperties": {}}, {LONG: 1}),
        ({"patternProperties": {CATASTROPHE: {}}, "unevaluatedProperties": False}, {LONG: 1}),
        ({"items": {"patternProperties": {CATASTROPHE: {}}}, "unevaluatedItems": False}, [{LONG: 1}]),
    ],
)
def test_no_pattern_keeps_it_busy(schema: dict[str, Any], value: object) -> None:
    """A pattern of Python's engine would not come back."""
    assert len(faults(schema, value)) <= 1


def test_faults_are_told_with_their_places_and_a_few_of_many() -> None:
    schema = {"items": {"properties": {"n": {"type": "integer"}}}}
    assert faults(schema, [{"n": "x"}], "item") == ["item[0].n: 'x' is not of type 'integer'"]
    assert len(faults(schema, [{"n": "x"}] * 100)) == MOST_FAULTS


def test_nothing_is_fetched_and_nothing_goes_on_for_ever() -> None:
    (away,) = faults({"$ref": "https://example.com/schema"}, 1)
    assert "which it does not hold" in away
    (endless,) = faults({"$ref": "#"}, 1)
    assert "without end" in endless


def doubling(depth: int) -> dict[str, Any]:
    """Each definition asks for the next one twice."""
    named = {f"a{number}": {"allOf": [{"$ref": f"#/$defs/a{number + 1}"}] * 2} for number in range(depth)}
    return {"$defs": named | {f"a{depth}": {"type": "integer"}}, "$ref": "#/$defs/a0"}


def test_what_a_schema_may_cost_is_bounded() -> None:
    assert faults(doubling(5), 1) == []
    (endless,) = faults(doubling(60), 1)
    assert f"{MOST_STEPS:,} steps" in endless
    (chosen,) = faults({"items": {"enum": list(range(1_000))}}, [0] * 1_000)
    assert f"{MOST_STEPS:,} steps" in chosen
    (named,) = faults({"items": {"properties": {f"p{number}": {} for number in range(1_000)}}}, [{}] * 1_000)
    assert f"{MOST_STEPS:,} steps" in named
    patterns: dict[str, Any] = {f"^x{number}": {} for number in range(1_000)}
    (matched,) = faults({"patternProperties": patterns}, {f"n{number}": 1 for number in range(1_000)})
    assert f"{MOST_STEPS:,} steps" in matched
    assert faults({"uniqueItems": True}, [{"n": number} for number in range(50_000)]) == []
    (vast,) = faults({"multipleOf": 0.5}, 10**400)
    assert "too large" in vast


def test_what_is_no_schema_is_said() -> None:
    assert "no JSON Schema" in checked({"type": 3}).fault
    assert f"{MOST_SCHEMA:,} are read" in checked({"title": "x" * MOST_SCHEMA}).fault
    deep: dict[str, Any] = {}
    for _ in range(2_000):
        deep = {"not": deep}
    assert "too deeply" in checked(deep).fault


def test_what_nobody_checks_is_told() -> None:
    schema = {"properties": {"a": {"pattern": "(?=x)"}}, "patternProperties": {"(?<=y)": {}}, "unevaluatedItems": False}
    assert checked(schema).unchecked == ("pattern '(?<=y)'", "pattern '(?=x)'", "unevaluatedItems")
    assert faults({"pattern": "(?=x)"}, "y") == []
