"""Filters on attributes pass what OpenAI's would."""

import pytest

from gateway.core.facts import Attributes
from gateway.knowledge.filters import Comparing, Comparison, Compound, Filter, matches

TAGS: Attributes = (("lang", "de"), ("live", True), ("year", 2026.0))


@pytest.mark.parametrize(
    ("key", "kind", "value", "passes"),
    [
        ("lang", "eq", "de", True),
        ("lang", "ne", "de", False),
        ("lang", "ne", "fr", True),
        ("lang", "in", ("de", "fr"), True),
        ("lang", "nin", ("de", "fr"), False),
        ("lang", "gt", "aa", True),
        ("year", "gte", 2026, True),
        ("year", "gt", 2026, False),
        ("year", "lt", 2027, True),
        ("year", "lte", 2025, False),
        ("year", "gt", "2025", False),
        ("live", "eq", True, True),
        ("live", "eq", 1, False),
        ("live", "gt", 0, False),
    ],
)
def test_one_comparison(key: str, kind: Comparing, value: str | float, *, passes: bool) -> None:
    assert matches(Comparison(key, kind, value), TAGS) is passes


@pytest.mark.parametrize("kind", ["eq", "ne", "gt", "lt"])
def test_an_absent_attribute_passes_nothing(kind: Comparing) -> None:
    """Else a filter on a tag would let through what nobody has tagged."""
    assert not matches(Comparison("region", kind, "eu"), TAGS)


def test_an_absent_attribute_is_not_outside_a_list() -> None:
    assert not matches(Comparison("region", "nin", ("eu",)), TAGS)


def test_compounds_nest() -> None:
    german, french = Comparison("lang", "eq", "de"), Comparison("lang", "eq", "fr")
    recent = Comparison("year", "gte", 2026)
    either: Filter = Compound("or", (french, german))
    assert matches(Compound("and", (either, recent)), TAGS)
    assert not matches(Compound("and", (french, recent)), TAGS)
    assert matches(Compound("and", ()), TAGS)
    assert not matches(Compound("or", ()), TAGS)
