"""The routes that are not answered by a model: models, files, fine-tuning jobs, batches, moderations."""

import re
from collections.abc import Callable

from gateway.core.clock import Clock
from gateway.core.values import Value
from gateway.offline.batches import BatchFloor, BatchRequest
from gateway.offline.exchange import Refusal
from gateway.offline.files import FileShelf
from gateway.offline.models import ModerationRequest, model_list, model_object, moderate
from gateway.offline.requests import read_request
from gateway.offline.tuning import JobRequest, TuningFloor


class Ask(Value, frozen=True):
    """One request: its path's changing part in `id`."""

    id: str
    query: dict[str, str]
    body: bytes
    content_type: str


Route = tuple[str, re.Pattern[str], Callable[["Resources", Ask], object]]


class Resources:
    """Files and tuning jobs of one offline upstream, and the routes over them."""

    def __init__(self, clock: Clock, tuning_seconds: float) -> None:
        self.files = FileShelf()
        self.tuning = TuningFloor(self.files, clock, tuning_seconds)
        self.batches = BatchFloor(self.files, clock, tuning_seconds)

    def answer(self, method: str, path: str, ask: Ask) -> object:
        """What the route gives: a value to be sent as JSON, or bytes. Raises Refusal (404, 405)."""
        known = False
        for route_method, pattern, handler in _ROUTES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            known = True
            if route_method == method:
                found = match.groupdict().get("id", "")
                return handler(self, Ask(id=found, query=ask.query, body=ask.body, content_type=ask.content_type))
        if known:
            raise Refusal(405, f"Not allowed to {method} on {path}.", code="method_not_supported")
        message = f"Unknown request URL: {method} {path}. Please check the URL for typos."
        raise Refusal(404, message, code="unknown_url")

    def reset(self) -> None:
        """Forgets all files and jobs."""
        self.files.reset()
        self.tuning.reset()
        self.batches.reset()

    def model(self, ask: Ask) -> object:
        """One model. Raises Refusal (404)."""
        owner = "offline" if ask.id in self.tuning.tuned_models() else "openai"
        return model_object(ask.id, owner)

    def delete_model(self, ask: Ask) -> object:
        """Says that a model is gone; a rehearsal keeps none. Raises Refusal (404)."""
        model_object(ask.id)
        return {"id": ask.id, "object": "model", "deleted": True}


_ROUTES: tuple[Route, ...] = tuple(
    (method, re.compile(pattern), handler)
    for method, pattern, handler in (
        ("GET", r"/v1/models", lambda at, _: model_list(at.tuning.tuned_models())),
        ("GET", r"/v1/models/(?P<id>.+)", Resources.model),
        ("DELETE", r"/v1/models/(?P<id>.+)", Resources.delete_model),
        ("POST", r"/v1/moderations", lambda _, ask: moderate(read_request(ask.body, ModerationRequest))),
        ("GET", r"/v1/files", lambda at, ask: at.files.page(ask.query)),
        ("POST", r"/v1/files", lambda at, ask: at.files.upload(ask.body, ask.content_type)),
        ("GET", r"/v1/files/(?P<id>[^/]+)", lambda at, ask: at.files.file(ask.id).listed()),
        ("DELETE", r"/v1/files/(?P<id>[^/]+)", lambda at, ask: at.files.delete(ask.id)),
        ("GET", r"/v1/files/(?P<id>[^/]+)/content", lambda at, ask: at.files.file(ask.id).content),
        ("GET", r"/v1/batches", lambda at, ask: at.batches.page(ask.query)),
        ("POST", r"/v1/batches", lambda at, ask: at.batches.create(read_request(ask.body, BatchRequest))),
        ("GET", r"/v1/batches/(?P<id>[^/]+)", lambda at, ask: at.batches.batch(ask.id)),
        ("POST", r"/v1/batches/(?P<id>[^/]+)/cancel", lambda at, ask: at.batches.cancel(ask.id)),
        ("GET", r"/v1/fine_tuning/jobs", lambda at, ask: at.tuning.page(ask.query)),
        (
            "POST",
            r"/v1/fine_tuning/jobs",
            lambda at, ask: at.tuning.create(read_request(ask.body, JobRequest)),
        ),
        ("GET", r"/v1/fine_tuning/jobs/(?P<id>[^/]+)", lambda at, ask: at.tuning.job(ask.id)),
        ("POST", r"/v1/fine_tuning/jobs/(?P<id>[^/]+)/cancel", lambda at, ask: at.tuning.cancel(ask.id)),
        ("POST", r"/v1/fine_tuning/jobs/(?P<id>[^/]+)/pause", lambda at, ask: at.tuning.pause(ask.id)),
        ("POST", r"/v1/fine_tuning/jobs/(?P<id>[^/]+)/resume", lambda at, ask: at.tuning.resume(ask.id)),
        (
            "GET",
            r"/v1/fine_tuning/jobs/(?P<id>[^/]+)/events",
            lambda at, ask: at.tuning.events(ask.id, ask.query),
        ),
        (
            "GET",
            r"/v1/fine_tuning/jobs/(?P<id>[^/]+)/checkpoints",
            lambda at, ask: at.tuning.checkpoints(ask.id, ask.query),
        ),
    )
)
