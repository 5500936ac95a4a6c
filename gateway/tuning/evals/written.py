"""Evals as their callers write them: OpenAI's JSON, read with every fault at once."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from gateway.tuning.graders.spec import Name, Spec, faults_told, told_faults
from gateway.tuning.graders.text_similarity import TextSimilarity
from gateway.tuning.graders.written import TAGS as GRADER_TAGS
from gateway.tuning.graders.written import AnyGrader, grader_or_faults
from gateway.tuning.json_schemas import checked

MOST_CRITERIA = 50
KINDS = ("custom", "logs", "stored_completions", "jsonl", "completions", "responses", "file_content", "file_id")
# Kinds that tell parts apart: none is a part of a fault's path.
TAGS = (*GRADER_TAGS, *KINDS, "template", "item_reference")
NO_LOGS = (
    "the texts of past calls are not kept here, so there are none to evaluate; send them as `file_content` or a file"
)

Metadata = dict[str, str] | None


def _is_schema(schema: dict[str, Any]) -> dict[str, Any]:
    fault = checked(schema).fault
    if fault:
        raise ValueError(fault)
    return schema


class Custom(Spec):
    """Rows that a caller brings."""

    type: Literal["custom"]
    item_schema: Annotated[dict[str, Any], AfterValidator(_is_schema)]
    include_sample_schema: bool = False


class FromLogs(Spec):
    """Rows of past calls, which cannot be served."""

    type: Literal["logs", "stored_completions"]
    metadata: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _refused(self) -> Self:
        raise ValueError(NO_LOGS)


class NewEval(Spec):
    """The body that makes an eval; its criteria are read one by one."""

    data_source_config: Annotated[Custom | FromLogs, Field(discriminator="type")]
    testing_criteria: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_CRITERIA)]
    metadata: Metadata = None
    name: Name | None = None


class ChangedEval(Spec):
    """The body that changes one. What is left out stays."""

    metadata: Metadata = None
    name: Name | None = None


_new_eval = TypeAdapter(NewEval)
_changed = TypeAdapter(ChangedEval)
_criteria = TypeAdapter(list[dict[str, Any]])


def read_new_eval(body: bytes) -> NewEval:
    """A new eval. Raises InvalidRequest (400) with every fault, those of its criteria among them."""
    try:
        made = _new_eval.validate_json(body)
    except ValidationError as fault:
        raise told_faults(fault, TAGS) from None
    faults = []
    for number, written in enumerate(made.testing_criteria):
        place = f"testing_criteria[{number}]"
        grader, found = grader_or_faults(_criteria.dump_json([written])[1:-1], place)
        faults += found
        if isinstance(grader, TextSimilarity) and grader.pass_threshold is None:
            faults.append((f"{place}.pass_threshold", "Field required"))
    if faults:
        raise faults_told(faults)
    return made


def read_changed_eval(body: bytes) -> ChangedEval:
    """A change of an eval. Raises InvalidRequest (400)."""
    try:
        return _changed.validate_json(body)
    except ValidationError as fault:
        raise told_faults(fault, TAGS) from None


def read_criteria(written: str) -> list[AnyGrader]:
    """An eval's criteria as graders. Raises InvalidRequest (400) for one that this version does not take any more."""
    graders = []
    for number, one in enumerate(_criteria.validate_json(written)):
        grader, faults = grader_or_faults(_criteria.dump_json([one])[1:-1], f"testing_criteria[{number}]")
        if grader is None:
            raise faults_told(faults)
        graders.append(grader)
    return graders
