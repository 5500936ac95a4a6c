"""Fine-tuning jobs as they are kept."""

from typing import Literal

import msgspec

from gateway.core.values import Value
from gateway.tuning.contract import Method, Numbers, Parameters, Plan

State = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
Wanted = Literal["", "cancel", "pause", "resume"]
ENDED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})


class TuningJob(Value, frozen=True):
    """A job. Times are Unix seconds; what is not known is None.

    trainer: its name in tuning.yaml, its upstream is `serves_at`. wanted: what its team asked for and the trainer has
    not been told yet. reference: of the job at its trainer, None until it is begun. seen: how many of the trainer's
    events are kept; events: how many there are in all. hyperparameters: as asked; resolved: what they came to, both
    JSON objects. metadata: JSON. error: code, message, parameter as JSON. results: ids of result files, JSON.
    """

    id: str
    team: str
    key_id: str
    organisation: str
    trainer: str
    serves_at: str
    model: str
    training_file: str
    validation_file: str | None
    suffix: str
    seed: int
    method: Method
    hyperparameters: str
    grader: str
    integrations: str
    metadata: str
    created_at: float
    state: State = "validating_files"
    wanted: Wanted = ""
    reference: str | None = None
    seen: int = 0
    events: int = 0
    tuned_model: str | None = None
    trained_tokens: int | None = None
    estimated_tokens: int | None = None
    dataset_hash: str = ""
    resolved: str = "{}"
    error: str | None = None
    results: str = "[]"
    ended_at: float | None = None
    finished_at: float | None = None
    estimated_finish: float | None = None
    cost_nano_usd: int | None = None
    due_at: float | None = None
    held_until: float | None = None
    tries: int = 0
    quiet: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens."""
        return self.state in ENDED

    def plan(self) -> Plan:
        """What its trainer is to do."""
        asked = msgspec.json.decode(self.hyperparameters, type=dict[str, float | int | str])
        pairs = msgspec.json.decode(self.metadata, type=dict[str, str])
        return Plan(
            job_id=self.id,
            team=self.team,
            model=self.model,
            suffix=self.suffix,
            seed=self.seed,
            method=self.method,
            hyperparameters=tuple((name, value) for name, value in asked.items() if value != "auto"),
            grader=self.grader,
            metadata=tuple(pairs.items()),
            integrations=self.integrations,
        )


class JobEvent(Value, frozen=True):
    """What happened. number: counts from 0 within the job."""

    job_id: str
    number: int
    at: float
    level: Literal["info", "warn", "error"]
    message: str
    kind: Literal["message", "metrics"] = "message"
    data: Numbers = ()


class Checkpoint(Value, frozen=True):
    """A model as it was at a step."""

    job_id: str
    number: int
    at: float
    step: int
    model: str
    metrics: Numbers = ()


class Permission(Value, frozen=True):
    """Another team that may call a tuned model."""

    id: str
    model: str
    team: str
    created_at: float


def parameters_text(parameters: Parameters) -> str:
    """As a JSON object."""
    return msgspec.json.encode(dict(parameters)).decode()
