"""The formula of a multi grader: numbers, names, + - * / ^, parentheses and seven functions. Never `eval`.

A formula is read into postfix steps, so that evaluating one cannot recurse, whatever was written.
"""

import math
import re
from collections.abc import Callable, Mapping

from gateway.core.values import Value

MOST_CHARACTERS = 2_000
MOST_DEPTH = 40
_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|([-+*/^(),]))")
_ONE: dict[str, Callable[[float], float]] = {
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}
_MANY: dict[str, Callable[[list[float]], float]] = {"min": min, "max": max}
FUNCTIONS = frozenset(_ONE) | frozenset(_MANY)


class FormulaFault(ValueError):
    """A formula that cannot be read, or has no finite value."""


class Step(Value, frozen=True):
    """One step of a calculation on a stack. kind: `number`, `name`, an operator, `neg`, or a function.

    count: how many values it takes, of a function.
    """

    kind: str
    number: float = 0.0
    name: str = ""
    count: int = 0


class Formula(Value, frozen=True):
    """A formula that was read. names: what it asks for, each once."""

    steps: tuple[Step, ...]
    names: tuple[str, ...]


def read_formula(text: str) -> Formula:
    """Reads a formula. Raises FormulaFault with the place of what cannot be read."""
    if len(text) > MOST_CHARACTERS:
        raise FormulaFault(f"a formula has at most {MOST_CHARACTERS:,} characters")
    reader = _Reader(text)
    reader.sum()
    if reader.token[1]:
        raise reader.unexpected()
    names = dict.fromkeys(step.name for step in reader.steps if step.kind == "name")
    return Formula(tuple(reader.steps), tuple(names))


def value_of(formula: Formula, values: Mapping[str, float]) -> float:
    """The formula's value. Raises FormulaFault for a name without a value, and for a value that is not finite."""
    stack: list[float] = []
    try:
        for step in formula.steps:
            _take(step, stack, values)
    except (OverflowError, ZeroDivisionError, ValueError) as fault:
        raise FormulaFault(f"the formula has no value: {fault}") from None
    if not math.isfinite(stack[0]):
        raise FormulaFault("the formula has no finite value")
    return stack[0]


def _take(step: Step, stack: list[float], values: Mapping[str, float]) -> None:
    if step.kind == "number":
        stack.append(step.number)
    elif step.kind == "name":
        if step.name not in values:
            raise FormulaFault(f"{step.name!r} is no grader's name")
        stack.append(float(values[step.name]))
    elif step.kind == "neg":
        stack.append(-stack.pop())
    elif step.kind == "call":
        taken = stack[len(stack) - step.count :]
        del stack[len(stack) - step.count :]
        stack.append(float(_MANY[step.name](taken) if step.name in _MANY else _ONE[step.name](taken[0])))
    else:
        right, left = stack.pop(), stack.pop()
        stack.append(_operated(step.kind, left, right))


def _operated(operator: str, left: float, right: float) -> float:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
    # math.pow and not **: the root of a negative number is a fault there, and a complex number here.
    return math.pow(left, right)


class _Reader:
    """Recursive descent, each level its precedence: sum, product, sign, power, primary."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps: list[Step] = []
        self.token: tuple[str, str] = ("end", "")
        self._place = 0
        self._began = 0
        self._depth = 0
        self.next()

    def next(self) -> None:
        self._began = self._place
        if not self.text[self._place :].strip():
            self.token = ("end", "")
            self._place = len(self.text)
            return
        found = _TOKEN.match(self.text, self._place)
        if found is None:
            raise self.unexpected()
        number, name, operator = found.groups()
        self.token = ("number", number) if number else ("name", name) if name else ("operator", operator)
        self._place = found.end()

    def unexpected(self) -> FormulaFault:
        rest = self.text[self._began :].strip()
        if not rest:
            return FormulaFault("the formula ends too early")
        return FormulaFault(f"the formula cannot be read at character {self._began + 1}: {rest[:20]!r}")

    def sum(self) -> None:
        self.product()
        while self.token[1] in ("+", "-"):
            operator = self.token[1]
            self.next()
            self.product()
            self.steps.append(Step(operator))

    def product(self) -> None:
        self.sign()
        while self.token[1] in ("*", "/"):
            operator = self.token[1]
            self.next()
            self.sign()
            self.steps.append(Step(operator))

    def sign(self) -> None:
        """`-2 ^ 2` is -4, as in mathematics and in Python."""
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise FormulaFault(f"the formula is nested more than {MOST_DEPTH} deep")
        if self.token[1] in ("+", "-"):
            is_minus = self.token[1] == "-"
            self.next()
            self.sign()
            if is_minus:
                self.steps.append(Step("neg"))
        else:
            self.power()
        self._depth -= 1

    def power(self) -> None:
        self.primary()
        if self.token[1] == "^":
            self.next()
            self.sign()
            self.steps.append(Step("^"))

    def primary(self) -> None:
        kind, written = self.token
        if kind == "number":
            self.next()
            self.steps.append(Step("number", float(written)))
        elif kind == "name":
            self.next()
            self.named(written)
        elif written == "(":
            self.next()
            self.sum()
            self.close()
        else:
            raise self.unexpected()

    def named(self, name: str) -> None:
        if self.token[1] != "(":
            if name in FUNCTIONS:
                raise FormulaFault(f"{name} is a function and needs its values in parentheses")
            self.steps.append(Step("name", name=name))
            return
        if name not in FUNCTIONS:
            raise FormulaFault(f"{name!r} is no function; there are {', '.join(sorted(FUNCTIONS))}")
        self.next()
        self.sum()
        count = 1
        while self.token[1] == ",":
            self.next()
            self.sum()
            count += 1
        self.close()
        if name in _ONE and count != 1:
            raise FormulaFault(f"{name} takes one value and was given {count}")
        self.steps.append(Step("call", name=name, count=count))

    def close(self) -> None:
        if self.token[1] != ")":
            raise self.unexpected()
        self.next()
