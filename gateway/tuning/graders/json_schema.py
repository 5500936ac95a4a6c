"""json_schema: whether a text is JSON of a form. One of ours: the official API has no such grader."""

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator

from gateway.core.answered import Ask
from gateway.tuning.graders.graded import Graded
from gateway.tuning.graders.replies import UNREADABLE
from gateway.tuning.graders.spec import GraderSpec, TemplateText
from gateway.tuning.graders.template import Subject, filled
from gateway.tuning.json_schemas import checked, faults_of


def _is_checked(schema: dict[str, Any]) -> dict[str, Any]:
    ready = checked(schema)
    if ready.fault:
        raise ValueError(ready.fault)
    if ready.unchecked:
        # A score would promise what nobody looked at.
        raise ValueError(f"{', '.join(ready.unchecked[:5])} cannot be checked here")
    return schema


class JsonSchema(GraderSpec):
    """1 for JSON that fits, 0 for all else."""

    type: Literal["json_schema"]
    input: TemplateText
    json_schema: Annotated[dict[str, Any], AfterValidator(_is_checked)]


async def grade_form(grader: JsonSchema, subject: Subject, _ask: Ask) -> Graded:
    """Looks whether it fits. Raises UnknownVariable."""
    try:
        value = msgspec.json.decode(filled(grader.input, subject).encode())
    except (*UNREADABLE, UnicodeEncodeError):
        return Graded(0.0, passed=False)
    validator = checked(grader.json_schema).validator
    # Off the loop: what a schema asks for may take a second.
    fits = validator is not None and not await asyncio.to_thread(faults_of, validator, value)
    return Graded(float(fits), passed=fits)
