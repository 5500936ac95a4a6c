"""/v1/batches: files of requests, answered when the clock says so; nothing runs in the background."""

from typing import Any, Literal

import msgspec

from gateway.core.clock import Clock
from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.offline.answering import ANSWERS
from gateway.offline.exchange import Refusal
from gateway.offline.files import FileShelf, page_of
from gateway.offline.models import model_object
from gateway.offline.requests import read_request

Status = Literal["validating", "failed", "in_progress", "completed", "cancelled"]
VALIDATING_SHARE = 0.25


class BatchRequest(Value, frozen=True):
    """The body that makes a batch."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


class Line(Value, frozen=True):
    """One request of its file."""

    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = "POST"


class Batch(msgspec.Struct):
    """What was asked and when. fault: why it will fail, or None. outputs: the ids of its files once they are made."""

    id: str
    request: BatchRequest
    made_at: float
    lines: list[Line]
    fault: str | None
    cancelled_at: float | None = None
    outputs: tuple[str | None, str | None] = (None, None)
    answered: int = 0


class BatchFloor:
    """All batches of this process. span_seconds: from being made to the end."""

    def __init__(self, files: FileShelf, clock: Clock, span_seconds: float) -> None:
        self._files = files
        self._clock = clock
        self._span = span_seconds
        self._batches: dict[str, Batch] = {}

    def create(self, request: BatchRequest) -> dict[str, Any]:
        """Makes a batch. Raises Refusal (400) for an endpoint or window that there is not, (404) without its file."""
        if request.endpoint not in ANSWERS:
            raise Refusal(400, f"Invalid endpoint: {request.endpoint}", param="endpoint")
        if request.completion_window != "24h":
            raise Refusal(400, "The completion window must be '24h'.", param="completion_window")
        content = self._files.file(request.input_file_id).content
        lines: list[Line] = []
        fault = None
        for number, written in enumerate(content.splitlines(), 1):
            try:
                lines.append(msgspec.json.decode(written, type=Line))
            except (msgspec.DecodeError, UnicodeError):
                fault = f"Line {number} is not a request."
                break
        made = Batch(new_id("batch"), request, self._clock.wall(), lines, fault)
        self._batches[made.id] = made
        return self._described(made)

    def batch(self, batch_id: str) -> dict[str, Any]:
        """One batch as it is now. Raises Refusal (404)."""
        return self._described(self._found(batch_id))

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of batches, newest first."""
        return page_of([self._described(one) for one in reversed(self._batches.values())], query, 20)

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Ends a batch. Raises Refusal (409) when it has ended already."""
        found = self._found(batch_id)
        status = self._status(found)
        if status not in {"validating", "in_progress"}:
            raise Refusal(409, f"Batch {batch_id} has already {status}.", code="invalid_state")
        found.cancelled_at = self._clock.wall()
        return self._described(found)

    def reset(self) -> None:
        """Forgets all."""
        self._batches.clear()

    def _found(self, batch_id: str) -> Batch:
        found = self._batches.get(batch_id)
        if found is None:
            raise Refusal(404, f"No batch found with id '{batch_id}'.", param="batch_id")
        return found

    def _status(self, batch: Batch) -> Status:
        if batch.cancelled_at is not None:
            return "cancelled"
        age = self._clock.wall() - batch.made_at
        if age < self._span * VALIDATING_SHARE:
            return "validating"
        if batch.fault is not None:
            return "failed"
        return "in_progress" if age < self._span else "completed"

    def _answer(self, batch: Batch) -> None:
        good: list[dict[str, Any]] = []
        bad: list[dict[str, Any]] = []
        for line in batch.lines:
            try:
                shape, compose = ANSWERS[batch.request.endpoint]
                request = read_request(bytes(line.body), shape)
                model_object(request.model)
                reply = {
                    "status_code": 200,
                    "request_id": new_id("req"),
                    "body": compose(request, with_usage=True).whole,
                }
                kept = good
            except Refusal as refusal:
                reply = {"status_code": refusal.status, "request_id": new_id("req"), "body": refusal.body}
                kept = bad
            kept.append({"id": new_id("breq"), "custom_id": line.custom_id, "response": reply, "error": None})
        batch.answered = len(good)
        batch.outputs = (self._file("output", good), self._file("error", bad))

    def _file(self, kind: str, lines: list[dict[str, Any]]) -> str | None:
        if not lines:
            return None
        content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        return self._files.add(f"batch_{kind}.jsonl", "batch_output", content).id

    def _described(self, batch: Batch) -> dict[str, Any]:
        status = self._status(batch)
        done = status == "completed"
        if done and batch.outputs == (None, None):
            self._answer(batch)
        total = len(batch.lines)
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.request.endpoint,
            "errors": None
            if status != "failed"
            else {"object": "list", "data": [{"code": "invalid_line", "message": batch.fault}]},
            "input_file_id": batch.request.input_file_id,
            "completion_window": "24h",
            "status": status,
            "output_file_id": batch.outputs[0],
            "error_file_id": batch.outputs[1],
            "created_at": int(batch.made_at),
            "completed_at": int(batch.made_at + self._span) if done else None,
            "cancelled_at": None if batch.cancelled_at is None else int(batch.cancelled_at),
            "request_counts": {
                "total": total,
                "completed": batch.answered if done else 0,
                "failed": total - batch.answered if done else 0,
            },
            "metadata": batch.request.metadata,
        }
