"""label_model: a model gives one of some labels."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.core.answered import Ask
from gateway.core.json_value import Json
from gateway.tuning.graders.graded import Errors, Graded, failed
from gateway.tuning.graders.judged import judged
from gateway.tuning.graders.messages import Messages
from gateway.tuning.graders.spec import GraderSpec, Name
from gateway.tuning.graders.template import Subject

MOST_LABELS = 500


class LabelModel(GraderSpec):
    """1 for a passing label, 0 for another."""

    type: Literal["label_model"]
    model: Name
    input: Messages
    labels: Annotated[list[Name], Field(min_length=1, max_length=MOST_LABELS)]
    passing_labels: Annotated[list[Name], Field(min_length=1, max_length=MOST_LABELS)]

    @model_validator(mode="after")
    def _passing_are_labels(self) -> Self:
        missing = [label for label in self.passing_labels if label not in self.labels]
        if missing:
            raise ValueError(f"passing_labels has {missing[0]!r}, which is not among labels")
        return self


async def grade_label(grader: LabelModel, subject: Subject, ask: Ask) -> Graded:
    """Asks the model. A reply that is none of the labels is 0, with its flag. Raises UnknownVariable."""
    labels: list[Json] = list(dict.fromkeys(grader.labels))
    wanted: dict[str, Json] = {"type": "string", "enum": labels}
    telling = f"one of {', '.join(grader.labels)}."
    found = await judged(grader.model, grader.input, wanted, telling, subject, ask)
    if not found.errors.is_empty:
        return failed(found.errors, found.usage, found.said)
    if found.result not in labels:
        errors = Errors(model_grader_parse_error=True, details=f"the model's `result` {found.result!r} is no label")
        return failed(errors, found.usage, found.said)
    passes = found.result in grader.passing_labels
    return Graded(float(passes), passed=passes, usage=found.usage, said=found.said)
