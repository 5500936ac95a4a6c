"""python: a caller's own program as a grader. It is read, and refused."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from gateway.tuning.graders.spec import GraderSpec

# As OpenAI has it.
MOST_BYTES = 262_144
REFUSED = (
    "python graders are not run here: a caller's program would run on the gateway's machine; "
    "use string_check, text_similarity, score_model, label_model or multi"
)


class PythonSource(GraderSpec):
    """A program with `def grade(sample, item)`."""

    type: Literal["python"]
    source: Annotated[str, StringConstraints(min_length=1, max_length=MOST_BYTES)]
    image_tag: str | None = None
    pass_threshold: float | None = None
