"""What a trainer takes and gives. One file each under `trainers/`; the jobs' engine knows no other way to train."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from gateway.core.errors import GatewayError
from gateway.core.values import Value
from gateway.tuning.publishing import Asks
from gateway.upstream.upstreams import Upstream

Method = Literal["supervised", "dpo", "reinforcement"]
Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
Parameters = tuple[tuple[str, float | int | str], ...]
Numbers = tuple[tuple[str, float], ...]


class Plan(Value, frozen=True):
    """What is to be trained.

    model: the base, or a tuned model to go on from. hyperparameters: as asked for; what is `auto` is left out.
    grader: its JSON, of reinforcement. suffix: "" for none. integrations: OpenAI's, as JSON.
    """

    job_id: str
    team: str
    model: str
    suffix: str
    seed: int
    method: Method
    hyperparameters: Parameters = ()
    grader: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    integrations: str = "[]"


class TrainingFile(Value, frozen=True):
    """A file that is trained on. size: in bytes."""

    id: str
    filename: str
    size: int


class Source(Protocol):
    """A file's bytes, as often as they are wanted."""

    @property
    def file(self) -> TrainingFile:
        """Which file."""
        ...

    def read(self) -> AsyncIterator[bytes]:
        """Its bytes in order. Raises NotFound when the file was deleted meanwhile."""
        ...


class Happened(Value, frozen=True):
    """One event. number: counts from 0 within the job at this trainer. data: of metrics, OpenAI's names."""

    number: int
    at: float
    level: Literal["info", "warn", "error"]
    message: str
    kind: Literal["message", "metrics"] = "message"
    data: Numbers = ()


class Saved(Value, frozen=True):
    """A checkpoint. model: under what name it can be called at the trainer's upstream."""

    number: int
    at: float
    step: int
    model: str
    metrics: Numbers = ()


class Progress(Value, frozen=True):
    """How a job stands. events: those whose number is at least what was asked for; checkpoints: all there are.

    tuned_model: the name at the trainer's upstream. trained_tokens: what is billed, epochs counted in; None as long as
    nobody knows. hyperparameters: what `auto` came to. error: code, message, and the parameter at fault or None.
    results: names of files that `result` gives. seconds: of computing, for trainers that are billed by the hour.
    """

    status: Status
    events: tuple[Happened, ...] = ()
    checkpoints: tuple[Saved, ...] = ()
    tuned_model: str | None = None
    trained_tokens: int | None = None
    hyperparameters: Parameters = ()
    error: tuple[str, str, str | None] | None = None
    finished_at: float | None = None
    estimated_finish: float | None = None
    results: tuple[str, ...] = ()
    seconds: float | None = None


class TrainerRefused(GatewayError):
    """The trainer will not train this, now or later: the job fails, and its caller is told why.

    answered: the status that a provider refused with; 0 where none was asked.
    """

    status, kind, code = 400, "invalid_request_error", "training_refused"

    def __init__(self, message: str, *, param: str | None = None, answered: int = 0) -> None:
        super().__init__(message, param=param)
        self.answered = answered

    @property
    def is_unknown(self) -> bool:
        """Whether the provider does not know, or no longer knows, what was asked for."""
        return self.answered in {404, 410}


class Trainer(Protocol):
    """Trains models. Every method may be called again after a crash and must then do nothing twice.

    Raises UpstreamFailed or UpstreamTimeout where it cannot be reached: it is asked again later.
    """

    kind: ClassVar[str]

    def faults(self, plan: Plan) -> list[str]:
        """Why it cannot train this, as far as the plan alone tells; none when it can."""
        ...

    async def start(self, plan: Plan, training: Source, validation: Source | None) -> str:
        """Begins, and gives a reference. Called again for a job that was begun it gives that job's reference.

        Raises TrainerRefused when it will not train this, NotFound when a file was deleted meanwhile.
        """
        ...

    async def watch(self, reference: str, since: int) -> Progress:
        """How the job stands, with events from number `since` on.

        Raises TrainerRefused when it will not tell; of a job that it does not know any more that one `is_unknown`.
        """
        ...

    async def cancel(self, reference: str) -> None:
        """Ends a job; of one that has ended nothing is left to do.

        Raises NotSupported where it will not, and as `watch` does for a job that it does not know.
        """
        ...

    async def pause(self, reference: str) -> None:
        """Lets a job wait. Raises NotSupported where it cannot."""
        ...

    async def resume(self, reference: str) -> None:
        """Goes on with a job that waits. Raises NotSupported where it cannot."""
        ...

    async def result(self, reference: str, name: str) -> bytes:
        """A result file's bytes."""
        ...


class Means(Protocol):
    """What a trainer is given to work with."""

    @property
    def folder(self) -> Path:
        """Where it may keep what it needs, a folder a job; shared by all processes of this machine."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Where secrets are looked for."""
        ...

    @property
    def policies(self) -> Path:
        """From where relative paths of tuning.yaml are meant."""
        ...

    @property
    def asks(self) -> Asks:
        """An HTTP client for what is no upstream."""
        ...

    def upstream(self, name: str) -> Upstream:
        """The upstream of that name. Raises UpstreamFailed (502) when the policy has it no more."""
        ...

    async def copied(self, upstream: str, source: Source, purpose: str) -> str:
        """The id of the file at that upstream, copied there when it is not yet. Raises TrainerRefused when refused."""
        ...
