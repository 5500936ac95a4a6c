"""score_model: a model gives a number."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.core.answered import Ask
from gateway.core.json_value import Json
from gateway.tuning.graders.graded import Errors, Graded, failed
from gateway.tuning.graders.judged import judged
from gateway.tuning.graders.messages import Messages
from gateway.tuning.graders.spec import GraderSpec, Name, Spec
from gateway.tuning.graders.template import Subject

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Sampling(Spec):
    """How the judge is asked. The plural in `max_completions_tokens` is the API's own."""

    max_completions_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: Effort | None = None
    seed: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None


def _is_range(pair: list[float]) -> list[float]:
    if len(pair) != 2 or pair[0] >= pair[1]:
        raise ValueError("must be two numbers, the lower one first")
    return pair


class ScoreModel(GraderSpec):
    """The score lies in `range`, [0, 1] where nothing is said; beyond it it is clamped.

    pass_threshold: without one, the middle of the range.
    """

    type: Literal["score_model"]
    model: Name
    input: Messages
    range: Annotated[list[float], AfterValidator(_is_range)] | None = None
    sampling_params: Sampling | None = None
    pass_threshold: float | None = None


async def grade_score(grader: ScoreModel, subject: Subject, ask: Ask) -> Graded:
    """Asks the model. A reply that is no number is 0, with its flag. Raises UnknownVariable."""
    low, high = grader.range or (0.0, 1.0)
    wanted: dict[str, Json] = {"type": "number", "minimum": low, "maximum": high}
    telling = f"a number from {low:g} to {high:g}."
    found = await judged(grader.model, grader.input, wanted, telling, subject, ask, _sampling(grader.sampling_params))
    if not found.errors.is_empty:
        return failed(found.errors, found.usage, found.said)
    number = found.result
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        errors = Errors(model_grader_parse_error=True, details="the model's `result` is no number")
        return failed(errors, found.usage, found.said)
    score = min(max(float(number), low), high)
    threshold = (low + high) / 2 if grader.pass_threshold is None else grader.pass_threshold
    return Graded(score, passed=score >= threshold, usage=found.usage, said=found.said)


def _sampling(params: Sampling | None) -> dict[str, Json]:
    if params is None:
        return {}
    told: dict[str, Json] = params.model_dump(exclude_none=True)
    if "max_completions_tokens" in told:
        told["max_completion_tokens"] = told.pop("max_completions_tokens")
    return told
