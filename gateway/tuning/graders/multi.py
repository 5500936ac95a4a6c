"""multi: a formula over other graders' scores."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.tuning.graders.formula import FUNCTIONS, FormulaFault, read_formula, value_of
from gateway.tuning.graders.graded import FINE, Errors, Graded, failed
from gateway.tuning.graders.json_schema import JsonSchema
from gateway.tuning.graders.label_model import LabelModel
from gateway.tuning.graders.python_source import PythonSource
from gateway.tuning.graders.score_model import ScoreModel
from gateway.tuning.graders.spec import GraderSpec
from gateway.tuning.graders.string_check import StringCheck
from gateway.tuning.graders.text_similarity import TextSimilarity

MOST_GRADERS = 32
_NAME = re.compile(r"[A-Za-z_]\w*\Z", re.ASCII)

Single = Annotated[
    StringCheck | TextSimilarity | ScoreModel | LabelModel | JsonSchema | PythonSource, Field(discriminator="type")
]
GradeOne = Callable[
    [StringCheck | TextSimilarity | ScoreModel | LabelModel | JsonSchema | PythonSource], Awaitable[Graded]
]


def _by_name(written: object) -> object:
    """The guide has a map of graders by name, the schema one grader alone, under its own name; both are taken."""
    if isinstance(written, dict) and isinstance(written.get("type"), str):
        return {str(written.get("name", "")): written}
    return written


def _readable(text: str) -> str:
    try:
        read_formula(text)
    except FormulaFault as fault:
        raise ValueError(str(fault)) from None
    return text


class Multi(GraderSpec):
    """The score is the formula's value. There are no multi graders within one."""

    type: Literal["multi"]
    graders: Annotated[dict[str, Single], BeforeValidator(_by_name), Field(min_length=1, max_length=MOST_GRADERS)]
    calculate_output: Annotated[str, AfterValidator(_readable)]
    pass_threshold: float | None = None

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name in self.graders:
            if not _NAME.match(name) or name in FUNCTIONS:
                raise ValueError(f"graders has {name!r}; a formula needs a name of letters, digits and underscores")
        for name in read_formula(self.calculate_output).names:
            if name not in self.graders:
                raise ValueError(f"calculate_output names {name!r}; graders has {', '.join(self.graders)}")
        return self


async def grade_multi(grader: Multi, grade_one: GradeOne) -> Graded:
    """Grades by each and calculates. A grader that fails counts as 0, and its flags are the whole's."""
    found = {name: await grade_one(one) for name, one in grader.graders.items()}
    return combined(grader, found)


def combined(grader: Multi, found: Mapping[str, Graded]) -> Graded:
    """The whole of what its graders gave."""
    parts = tuple((name, one.score) for name, one in found.items())
    usage = tuple(used for one in found.values() for used in one.usage)
    errors = FINE
    for one in found.values():
        errors = errors.together(one.errors)
    try:
        score = value_of(read_formula(grader.calculate_output), dict(parts))
    except FormulaFault as fault:
        return failed(errors.together(Errors(formula_parse_error=True, details=str(fault))), usage)
    threshold = 1.0 if grader.pass_threshold is None else grader.pass_threshold
    return Graded(score, passed=score >= threshold and errors.is_empty, errors=errors, parts=parts, usage=usage)
