"""/v1/fine_tuning/jobs: a thin life cycle that the clock drives; nothing runs in the background.

A job is queued, then running, then succeeded, over `span_seconds`; what it is at a moment follows from when
it was made and whether it was cancelled.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.core.clock import Clock
from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.offline.exchange import Refusal
from gateway.offline.files import FileShelf, page_of
from gateway.offline.tokens import count_tokens

Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
DEFAULT_EPOCHS = 3
QUEUED_SHARE = 0.25
STEPS = 10
MIN_EXAMPLES = 10


class JobRequest(Value, frozen=True):
    """The body that makes a job."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, Meta(max_length=64)] | None = None
    seed: int | None = None
    hyperparameters: dict[str, Any] | None = None
    method: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None


class Job(msgspec.Struct, frozen=True):
    """What was asked, when, and what is known from the file. fault: why it will fail, or None."""

    id: str
    request: JobRequest
    made_at: float
    epochs: int
    trained_tokens: int
    fault: str | None
    cancelled_at: float | None = None
    paused_at: float | None = None
    paused_seconds: float = 0.0
    results: str | None = None

    @property
    def steps(self) -> int:
        """How many steps it takes, ten an epoch."""
        return self.epochs * STEPS

    @property
    def tuned_model(self) -> str:
        """The id of the model that it makes."""
        return f"ft:{self.request.model}:offline:{self.request.suffix or ''}:{self.id[-8:]}"


class TuningFloor:
    """All jobs of this process. span_seconds: from being made to the end."""

    def __init__(self, files: FileShelf, clock: Clock, span_seconds: float) -> None:
        self._files = files
        self._clock = clock
        self._span = span_seconds
        self._jobs: dict[str, Job] = {}

    def create(self, request: JobRequest) -> dict[str, Any]:
        """Makes a job. Raises Refusal (400) when its training file is not there."""
        try:
            content = self._files.file(request.training_file).content.decode("utf-8", "replace")
        except Refusal:
            message = f"invalid training_file: {request.training_file}"
            raise Refusal(400, message, param="training_file", code="invalid_file") from None
        epochs = _epochs(request)
        job = Job(
            id=new_id("ftjob").replace("_", "-"),
            request=request,
            made_at=self._clock.wall(),
            epochs=epochs,
            trained_tokens=sum(map(_tokens_of, content.splitlines())) * epochs,
            fault=_fault_of(content),
        )
        self._jobs[job.id] = job
        return self._described(job)

    def job(self, job_id: str) -> dict[str, Any]:
        """One job as it is now. Raises Refusal (404)."""
        return self._described(self._found(job_id))

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of jobs, newest first."""
        pairs = {name[9:-1]: value for name, value in query.items() if name.startswith("metadata[")}
        found = [job for job in reversed(self._jobs.values()) if pairs.items() <= (job.request.metadata or {}).items()]
        return page_of([self._described(job) for job in found], query, 20)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Ends a job. Raises Refusal (400) when it has ended already."""
        job = self._found(job_id)
        status = self._status(job)
        if status not in ("queued", "running", "paused"):
            raise Refusal(400, f"Job {job_id} has already {status}.", code="invalid_state")
        self._jobs[job_id] = msgspec.structs.replace(job, cancelled_at=self._clock.wall())
        return self.job(job_id)

    def pause(self, job_id: str) -> dict[str, Any]:
        """Has a job wait. Raises Refusal (400) when it is not under way."""
        job = self._found(job_id)
        status = self._status(job)
        if status not in ("queued", "running"):
            raise Refusal(400, f"Job {job_id} is {status}.", code="invalid_state")
        self._jobs[job_id] = msgspec.structs.replace(job, paused_at=self._clock.wall())
        return self.job(job_id)

    def resume(self, job_id: str) -> dict[str, Any]:
        """Goes on with a job that waits. Raises Refusal (400) for another."""
        job = self._found(job_id)
        if self._status(job) != "paused" or job.paused_at is None:
            raise Refusal(400, f"Job {job_id} is {self._status(job)}.", code="invalid_state")
        waited = job.paused_seconds + self._clock.wall() - job.paused_at
        self._jobs[job_id] = msgspec.structs.replace(job, paused_at=None, paused_seconds=waited)
        return self.job(job_id)

    def events(self, job_id: str, query: dict[str, str]) -> dict[str, Any]:
        """What happened so far, newest first."""
        job = self._found(job_id)
        status = self._status(job)
        texts: list[str | int] = [f"Created fine-tuning job: {job.id}"]
        if self._age(job) >= self._span * QUEUED_SHARE:
            texts.append("Fine-tuning job started")
            texts += range(1, self._step(job) + 1)
        if status == "succeeded":
            texts += [
                f"New fine-tuned model created: {job.tuned_model}",
                "The job has successfully completed",
            ]
        elif status in ("failed", "cancelled"):
            texts.append(job.fault or "The job was cancelled")
        events: list[dict[str, Any]] = [
            {
                "id": f"ftevent-{job.id[6:]}-{number}",
                "object": "fine_tuning.job.event",
                "created_at": int(job.made_at),
                "level": "error" if text == job.fault else "info",
                "message": text if isinstance(text, str) else f"Step {text}/{job.steps}: training loss={_loss(text)}",
                "data": {} if isinstance(text, str) else _metrics(text, job.steps),
                "type": "message" if isinstance(text, str) else "metrics",
            }
            for number, text in enumerate(texts)
        ]
        return page_of(events[::-1], query, 20)

    def checkpoints(self, job_id: str, query: dict[str, str]) -> dict[str, Any]:
        """The model after each epoch of a job that succeeded, newest first."""
        job = self._found(job_id)
        done = self._status(job) == "succeeded"
        points = [
            {
                "id": f"ftckpt-{job.id[6:]}-{epoch}",
                "object": "fine_tuning.job.checkpoint",
                "created_at": int(job.made_at + self._span),
                "fine_tuned_model_checkpoint": job.tuned_model
                + ("" if epoch == job.epochs else f":ckpt-step-{epoch * STEPS}"),
                "fine_tuning_job_id": job.id,
                "metrics": {"step": float(epoch * STEPS), "train_loss": _loss(epoch * STEPS)},
                "step_number": epoch * STEPS,
            }
            for epoch in range(job.epochs if done else 0, 0, -1)
        ]
        return page_of(points, query, 10)

    def tuned_models(self) -> list[str]:
        """The ids of all models made here."""
        return [job.tuned_model for job in self._jobs.values() if self._status(job) == "succeeded"]

    def reset(self) -> None:
        """Forgets all."""
        self._jobs.clear()

    def _found(self, job_id: str) -> Job:
        found = self._jobs.get(job_id)
        if found is None:
            message = f"Could not find fine tune: {job_id}"
            raise Refusal(404, message, param="fine_tuning_job_id", code="fine_tune_not_found")
        return found

    def _status(self, job: Job) -> Status:
        if job.cancelled_at is not None:
            return "cancelled"
        age = self._age(job)
        if job.paused_at is not None:
            return "paused"
        if age < self._span * QUEUED_SHARE:
            return "queued"
        if job.fault is not None:
            return "failed"
        return "running" if age < self._span else "succeeded"

    def _age(self, job: Job) -> float:
        ended = job.cancelled_at if job.cancelled_at is not None else self._clock.wall()
        until = ended if job.paused_at is None else min(ended, job.paused_at)
        return until - job.made_at - job.paused_seconds

    def _step(self, job: Job) -> int:
        """How many steps are done."""
        begun = self._span * QUEUED_SHARE
        share = 1.0 if self._span <= begun else (self._age(job) - begun) / (self._span - begun)
        return 0 if job.fault is not None else max(0, min(job.steps, int(share * job.steps)))

    def _results(self, job: Job) -> str:
        """The id of the file of losses by step, made when it is first asked for."""
        if job.results is None:
            rows = "".join(f"{step},{_loss(step)},,,\n" for step in range(1, job.steps + 1))
            head = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
            file = self._files.add("step_metrics.csv", "fine-tune-results", (head + rows).encode())
            job = self._jobs[job.id] = msgspec.structs.replace(job, results=file.id)
        return str(job.results)

    def _described(self, job: Job) -> dict[str, Any]:
        status = self._status(job)
        done = status == "succeeded"
        ended = job.made_at + self._span + job.paused_seconds if done else job.cancelled_at
        failed = {"code": "invalid_training_file", "message": job.fault, "param": "training_file"}
        return {
            "id": job.id,
            "object": "fine_tuning.job",
            "created_at": int(job.made_at),
            "finished_at": None if ended is None else int(ended),
            "estimated_finish": int(job.made_at + self._span) if status == "running" else None,
            "model": job.request.model,
            "fine_tuned_model": job.tuned_model if done else None,
            "organization_id": "org-offline",
            "status": status,
            "error": failed if status == "failed" else None,
            "training_file": job.request.training_file,
            "validation_file": job.request.validation_file,
            "result_files": [self._results(job)] if done else [],
            "trained_tokens": job.trained_tokens if done else None,
            "hyperparameters": {"n_epochs": job.epochs},
            "method": job.request.method,
            "seed": job.request.seed or 0,
            "integrations": [],
            "metadata": job.request.metadata,
            "user_provided_suffix": job.request.suffix,
        }


class _Said(msgspec.Struct):
    role: str = ""
    content: str | None = None


class _Example(msgspec.Struct):
    messages: list[_Said]


def _tokens_of(line: str) -> int:
    """A row's tokens: of a conversation three a message and three more, as the API's documents count; else its text."""
    try:
        said = msgspec.json.decode(line, type=_Example).messages
    except (msgspec.DecodeError, UnicodeError):
        return count_tokens(line)
    return 3 + sum(3 + count_tokens(one.role) + count_tokens(one.content or "") for one in said)


def _loss(step: int) -> float:
    return round(2.0 / (1 + step / STEPS), 4)


def _metrics(step: int, steps: int) -> dict[str, float]:
    return {
        "step": step,
        "total_steps": steps,
        "train_loss": _loss(step),
        "train_mean_token_accuracy": 1 - _loss(step) / 2,
    }


def _epochs(request: JobRequest) -> int:
    method = request.method or {}
    of_method = method.get(str(method.get("type"))) or {}
    given = (of_method.get("hyperparameters") or request.hyperparameters or {}).get("n_epochs")
    return given if isinstance(given, int) and 0 < given <= 50 else DEFAULT_EPOCHS


def _fault_of(content: str) -> str | None:
    """Why a training file cannot be used: a line that is not a JSON object, or fewer than 10 examples."""
    lines = content.splitlines()
    for number, line in enumerate(lines, 1):
        try:
            msgspec.json.decode(line, type=dict)
        except (msgspec.DecodeError, UnicodeError):
            return f"Invalid file format. Line {number} is not a JSON object."
    if len(lines) < MIN_EXAMPLES:
        return f"Training file has {len(lines)} example(s), but must have at least {MIN_EXAMPLES} examples"
    return None
