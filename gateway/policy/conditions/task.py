"""Whether the call is what a model line was trained for."""

from typing import Annotated

from pydantic import Field

from gateway.core.document import Written
from gateway.core.facts import NeedsTasks
from gateway.policy.condition import Check, Compiling, Condition, Cost
from gateway.policy.seen import Seen


class Trained(Written):
    """A line with a training file, and how sure it must be that the call is like its examples (0 to 1)."""

    line: Annotated[str, Field(min_length=1)]
    score_over: Annotated[float, Field(ge=0, le=1)] = 0.5


def _compile(wanted: Trained, compiling: Compiling) -> Check:
    line, limit = wanted.line, wanted.score_over
    compiling.lines.add(line)

    def check(seen: Seen) -> bool | NeedsTasks:
        if seen.names.endpoint not in {"chat", "responses"}:
            return False
        score = seen.task(line)
        return NeedsTasks() if score is None else score > limit

    return check


def _observed(seen: Seen) -> object:
    return {signal.line: round(seen.task_score(signal), 3) for signal in seen.facts.tasks or ()}


CONDITION = Condition(
    summary="the call is like what this line was trained on, and no other line more so: the score is above this",
    example="task: {line: support-tone, score_over: 0.6}",
    value=Trained,
    compile=_compile,
    observed=_observed,
    cost=Cost.TASK,
    covers=lambda wide, narrow: wide.line == narrow.line and wide.score_over <= narrow.score_over,
)
