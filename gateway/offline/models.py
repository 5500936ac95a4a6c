"""GET /v1/models, and POST /v1/moderations."""

from typing import Annotated, Any

from msgspec import Meta

from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.offline.exchange import Refusal

KNOWN = (
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4o-mini-2024-07-18",
    "omni-moderation-latest",
    "text-embedding-3-large",
    "text-embedding-3-small",
)
# Any other name is answered too; only these are not there, so that a caller can rehearse the 404.
MISSING_PREFIX = "missing-"
CREATED = 1_700_000_000

_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


class ModerationRequest(Value, frozen=True):
    """input: a text, texts, or parts with a `text`."""

    input: str | Annotated[list[str | dict[str, Any]], Meta(min_length=1)]
    model: str | None = None


def model_object(model: str, owner: str = "openai") -> dict[str, Any]:
    """A model as OpenAI lists it. Raises Refusal (404) for a name that begins with `missing-`."""
    if model.startswith(MISSING_PREFIX):
        message = f"The model {model!r} does not exist or you do not have access to it."
        raise Refusal(404, message, param="model", code="model_not_found")
    return {"id": model, "object": "model", "created": CREATED, "owned_by": owner}


def model_list(tuned: list[str]) -> dict[str, Any]:
    """All known models and the tuned ones made here."""
    data = [model_object(name) for name in KNOWN] + [model_object(name, "offline") for name in tuned]
    return {"object": "list", "data": data}


def moderate(request: ModerationRequest) -> dict[str, Any]:
    """A moderation result: what says that it will kill is flagged as violence, everything else passes."""
    given = [request.input] if isinstance(request.input, str) else request.input
    if any(isinstance(one, dict) for one in given):
        given = ["\n".join(str(one.get("text") or "") for one in given if isinstance(one, dict))]
    return {
        "id": new_id("modr"),
        "model": request.model or "omni-moderation-latest",
        "results": [_result(str(text)) for text in given],
    }


def _result(text: str) -> dict[str, Any]:
    flagged = "kill" in text.lower().split()
    hits = {"violence"} if flagged else set()
    return {
        "flagged": flagged,
        "categories": {name: name in hits for name in _CATEGORIES},
        "category_scores": {name: 0.97 if name in hits else 0.0001 for name in _CATEGORIES},
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
