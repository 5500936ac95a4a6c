"""string_check: two texts compared as they are."""

from typing import Literal

from gateway.core.answered import Ask
from gateway.tuning.graders.graded import Graded
from gateway.tuning.graders.spec import GraderSpec, TemplateText
from gateway.tuning.graders.template import Subject, filled


class StringCheck(GraderSpec):
    """1 when it holds, else 0. `like`: the input holds the reference; `ilike` leaves the case aside."""

    type: Literal["string_check"]
    input: TemplateText
    reference: TemplateText
    operation: Literal["eq", "ne", "like", "ilike"]


async def grade_string(grader: StringCheck, subject: Subject, _ask: Ask) -> Graded:
    """Compares. Raises UnknownVariable."""
    text, reference = filled(grader.input, subject), filled(grader.reference, subject)
    match grader.operation:
        case "eq":
            holds = text == reference
        case "ne":
            holds = text != reference
        case "like":
            holds = reference in text
        case "ilike":
            holds = reference.casefold() in text.casefold()
    return Graded(float(holds), passed=holds)
