"""How a run asks its model: messages with holes or of the item itself, and how the model samples."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from gateway.tuning.graders.messages import Messages
from gateway.tuning.graders.score_model import Effort
from gateway.tuning.graders.spec import Spec
from gateway.tuning.graders.template import TemplateFault, reference_of


def _names_an_item(text: str) -> str:
    try:
        reference = reference_of(text)
    except TemplateFault as fault:
        raise ValueError(str(fault)) from None
    if reference.namespace != "item":
        raise ValueError("must name a part of the item, such as 'item.input'")
    return text


class Templates(Spec):
    """A prompt with holes."""

    type: Literal["template"]
    template: Messages


class ItemReference(Spec):
    """Where each item has its own messages."""

    type: Literal["item_reference"]
    item_reference: Annotated[str, AfterValidator(_names_an_item)]


class ResponseText(Spec):
    """The form of a response's text."""

    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class SamplingParams(Spec):
    """How a model is asked. response_format is of completions, text of responses."""

    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    reasoning_effort: Effort | None = None
    response_format: dict[str, Any] | None = None
    seed: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    text: ResponseText | None = None
    tools: list[dict[str, Any]] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
