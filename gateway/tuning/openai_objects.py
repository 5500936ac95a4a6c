"""OpenAI's fine-tuning objects, as far as they are read of a provider: by its trainer, and by an import."""

from typing import Any, Literal

import msgspec

from gateway.core.errors import UpstreamFailed
from gateway.tuning.contract import Happened, Numbers, Saved

LEVELS: dict[str, Literal["info", "warn", "error"]] = {"info": "info", "warn": "warn", "error": "error"}


class Fault(msgspec.Struct):
    """Why a job failed, or a request was refused. OpenAI writes one that is all null for a job that did not fail."""

    message: str | None = None
    code: str | None = None
    param: str | None = None


class Event(msgspec.Struct):
    """What happened to a job."""

    id: str
    created_at: float = 0.0
    level: str = "info"
    message: str = ""
    type: str | None = "message"
    data: Any = None


class Point(msgspec.Struct):
    """A checkpoint."""

    id: str
    created_at: float = 0.0
    step_number: int = 0
    fine_tuned_model_checkpoint: str = ""
    metrics: dict[str, Any] | None = None


class Named(msgspec.Struct):
    """Whatever has an id."""

    id: str = ""


class Listed(msgspec.Struct):
    """A page of a list; its items are read one by one."""

    data: list[msgspec.Raw] = []
    has_more: bool = False


def read(body: bytes | msgspec.Raw, kind: type[Any]) -> Any:
    """The body as that kind. Raises UpstreamFailed (502) for one that is not."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailed("The provider's answer is not what OpenAI's API gives.") from None


def happened(number: int, event: Event) -> Happened:
    """The event under a number of ours; only metrics have numbers."""
    level = LEVELS.get(event.level, "info")
    if event.type == "metrics":
        return Happened(number, event.created_at, level, event.message, "metrics", numbers(event.data))
    return Happened(number, event.created_at, level, event.message)


def saved(number: int, point: Point) -> Saved:
    """The checkpoint under a number of ours."""
    metrics = numbers(point.metrics)
    return Saved(number, point.created_at, point.step_number, point.fine_tuned_model_checkpoint, metrics)


def numbers(written: Any) -> Numbers:
    """The numbers of an object by their names; what else stands there is left out."""
    pairs = written.items() if isinstance(written, dict) else ()
    good = ((str(name), value) for name, value in pairs if isinstance(value, int | float) and value is not True)
    return tuple((name, float(value)) for name, value in good)
