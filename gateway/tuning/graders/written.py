"""Graders as JSON: read with every fault at once, and run."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from gateway.core.answered import Ask
from gateway.tuning.graders.graded import Errors, Graded, failed
from gateway.tuning.graders.json_schema import JsonSchema, grade_form
from gateway.tuning.graders.label_model import LabelModel, grade_label
from gateway.tuning.graders.messages import PART_TAGS, texts_of
from gateway.tuning.graders.multi import Multi, grade_multi
from gateway.tuning.graders.python_source import REFUSED, PythonSource
from gateway.tuning.graders.score_model import ScoreModel, grade_score
from gateway.tuning.graders.spec import faults_told, path_of
from gateway.tuning.graders.string_check import StringCheck, grade_string
from gateway.tuning.graders.template import Reference, Subject, UnknownVariable, references_of
from gateway.tuning.graders.text_similarity import TextSimilarity, grade_similarity

AnyGrader = StringCheck | TextSimilarity | ScoreModel | LabelModel | JsonSchema | PythonSource | Multi
Grader = Annotated[AnyGrader, Field(discriminator="type")]
TAGS = (*PART_TAGS, "string_check", "text_similarity", "score_model", "label_model", "json_schema", "python", "multi")
ENDPOINT = "endpoint graders are not run here: they would send data to an address that a caller names"

_grader: TypeAdapter[AnyGrader] = TypeAdapter(Grader)


def read_grader(written: bytes, within: str = "grader") -> AnyGrader:
    """A grader of its JSON. within: how its place is named in faults. Raises InvalidRequest (400) with every fault."""
    grader, faults = grader_or_faults(written, within)
    if grader is None:
        raise faults_told(faults)
    return grader


def grader_or_faults(written: bytes, within: str) -> tuple[AnyGrader | None, list[tuple[str, str]]]:
    """A grader that may be run, or every fault with its path."""
    try:
        grader = _grader.validate_json(written)
    except ValidationError as fault:
        return None, [(_place(one, within), _message(one)) for one in fault.errors(include_url=False)]
    faults = [(f"{within}.{path}".rstrip("."), REFUSED) for path in _programs(grader)]
    return (None, faults) if faults else (grader, [])


def _place(one: Any, within: str) -> str:
    return path_of(one["loc"], TAGS, within)


def _message(one: Any) -> str:
    if (
        one["type"] == "union_tag_invalid"
        and isinstance(one["input"], Mapping)
        and one["input"].get("type") == "endpoint"
    ):
        return ENDPOINT
    told: str = one["msg"]
    return told.removeprefix("Value error, ")


def _programs(grader: AnyGrader) -> Sequence[str]:
    if isinstance(grader, PythonSource):
        return ("source",)
    if isinstance(grader, Multi):
        return tuple(f"graders.{name}" for name, one in grader.graders.items() if isinstance(one, PythonSource))
    return ()


def names_of(grader: AnyGrader) -> list[Reference]:
    """What a grader's templates name, in order."""
    if isinstance(grader, Multi):
        return [name for one in grader.graders.values() for name in names_of(one)]
    if isinstance(grader, StringCheck | TextSimilarity):
        texts = [grader.input, grader.reference]
    elif isinstance(grader, JsonSchema):
        texts = [grader.input]
    elif isinstance(grader, ScoreModel | LabelModel):
        texts = texts_of(grader.input)
    else:
        texts = []
    return [name for text in texts for name in references_of(text)]


async def grade(grader: AnyGrader, subject: Subject, ask: Ask) -> Graded:
    """Grades. ask: how models are asked. What goes wrong is in the flags; what `ask` raises goes through."""
    try:
        return await _grade(grader, subject, ask)
    except UnknownVariable as fault:
        is_sample = fault.flag == "sample_parse_error"
        return failed(Errors(invalid_variable_error=not is_sample, sample_parse_error=is_sample, details=fault.message))


async def _grade(grader: AnyGrader, subject: Subject, ask: Ask) -> Graded:
    if isinstance(grader, Multi):
        return await grade_multi(grader, lambda one: grade(one, subject, ask))
    if isinstance(grader, StringCheck):
        return await grade_string(grader, subject, ask)
    if isinstance(grader, TextSimilarity):
        return await grade_similarity(grader, subject, ask)
    if isinstance(grader, ScoreModel | LabelModel):
        return await (
            grade_score(grader, subject, ask) if isinstance(grader, ScoreModel) else grade_label(grader, subject, ask)
        )
    if isinstance(grader, JsonSchema):
        return await grade_form(grader, subject, ask)
    return failed(Errors(python_grader_server_error=True, python_grader_server_error_type="refused"))
