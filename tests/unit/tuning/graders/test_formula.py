"""Formulas of multi graders: as mathematics has them, never a name of Python's, bounded whatever is written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tuning.graders.formula import FormulaFault, read_formula, value_of

VALUES = {"a": 0.5, "b": 2.0, "c": -3.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("8 / 4 / 2", 1),
        ("- - a", 0.5),
        ("min(a, b, 1) + max(c, 0)", 0.5),
        ("abs(c) + floor(1.9) + ceil(0.1)", 5),
        ("sqrt(b * 8) + log(exp(1))", 5),
        ("1e3 * .5", 500),
        ("0.6*a+0.4*b", 1.1),
    ],
)
def test_a_formula_has_the_value_that_mathematics_gives(text: str, value: float) -> None:
    assert value_of(read_formula(text), VALUES) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "(1",
        "1)",
        "1 2",
        "a b",
        "2 ** 3",
        "a.real",
        "__import__('os')",
        "min",
        "min()",
        "sqrt(1, 2)",
        "pow(2, 3)",
        "a[0]",
        "1 if a else 2",
        "lambda: 1",
        "a = 1",
        "1e",
        "(" * 100 + "1" + ")" * 100,
        "-" * 100 + "1",
        "1" * 3000,
    ],
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(FormulaFault):
        read_formula(text)


@pytest.mark.parametrize(
    "text", ["1 / 0", "log(0)", "sqrt(c)", "c ^ 0.5", "exp(1e9)", "9 ^ 9 ^ 9 ^ 9", "unknown", "0 ^ -1"]
)
def test_a_formula_without_a_value_says_so(text: str) -> None:
    with pytest.raises(FormulaFault):
        value_of(read_formula(text), VALUES)


def test_names_are_told_once_each() -> None:
    assert read_formula("a + b * min(a, b)").names == ("a", "b")


def test_a_long_chain_costs_no_stack() -> None:
    assert value_of(read_formula("+".join(["1"] * 999)), {}) == 999


@given(st.text(alphabet="abc0123456789.eE+-*/^(), minaxfloorceilsqrtlogexp_\x00\n%", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = value_of(read_formula(text), VALUES)
    except FormulaFault:
        return
    assert math.isfinite(found)


_numbers = st.floats(0.01, 100).map(lambda number: f"{number:.4f}")
_formulas = st.recursive(
    _numbers | st.sampled_from(sorted(VALUES)),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({' '.join(parts)})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        inner.map(lambda text: f"(-{text})"),
        inner.map(lambda text: f"abs({text})"),
    ),
    max_leaves=12,
)


@given(_formulas)
def test_formulas_mean_what_python_means_by_them(text: str) -> None:
    """The same text under Python's own rules, which are the same for these signs."""
    try:
        known = {"__builtins__": {}, "min": min, "max": max, "abs": abs, **VALUES}
        # The text is made here: it is the other reading that ours is held against.
        expected = eval(text, known)
    except ZeroDivisionError:
        with pytest.raises(FormulaFault):
            value_of(read_formula(text), VALUES)
        return
    assert value_of(read_formula(text), VALUES) == pytest.approx(expected)
