"""How graders are written: what all kinds share, and every fault of them at once."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from gateway.core.errors import InvalidRequest
from gateway.tuning.graders.template import TemplateFault, parts_of

MOST_NAME = 512
MOST_TOLD = 50


class Spec(BaseModel):
    """A part of a grader. A key that nobody knows is a fault: it may be a threshold with a slip in its name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _readable(text: str) -> str:
    try:
        parts_of(text)
    except TemplateFault as fault:
        raise ValueError(str(fault)) from None
    if "\0" in text:
        raise ValueError("no text here holds a NUL")
    return text


TemplateText = Annotated[str, AfterValidator(_readable)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MOST_NAME, pattern=r"^[^\x00]*$")]


class GraderSpec(Spec):
    """What every grader has. id: as a provider may have given it; it means nothing here."""

    name: Name
    id: str | None = None


def told_faults(fault: ValidationError, tags: Sequence[str], within: str = "") -> InvalidRequest:
    """All faults as one 400. tags: names of kinds, which are no part of a path. within: where the body begins.

    `param` is the path of the first, such as `grader.graders.closeness.reference`.
    """
    told = []
    for one in fault.errors(include_url=False, include_input=False):
        path = path_of(one["loc"], tags, within)
        told.append((path, one["msg"].removeprefix("Value error, ")))
    return faults_told(told)


def faults_told(told: Sequence[tuple[str, str]]) -> InvalidRequest:
    """Faults with their paths as one 400."""
    shown = "; ".join(f"{path}: {message}" if path else message for path, message in told[:MOST_TOLD])
    more = f"; and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return InvalidRequest(f"{shown}{more}.".replace("..", "."), param=told[0][0] or None)


def path_of(place: Sequence[Any], tags: Sequence[str], within: str = "") -> str:
    """`grader.input[0].content` of the parts of a path."""
    path = within
    was_tag = False
    for part in place:
        # A kind stands before what is in it, and a field may be named as a kind: `template` of a `template`.
        is_tag = part in tags and not was_tag
        if isinstance(part, int):
            path += f"[{part}]"
        elif not is_tag:
            path += f".{part}" if path else str(part)
        was_tag = is_tag
    return path
