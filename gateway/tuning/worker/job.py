"""What stands in a job's folder: the job as it was asked for, and how far it is."""

import re
from typing import Literal

from gateway.core.values import Value
from gateway.tuning.contract import Parameters, Plan, Status

LocalMethod = Literal["supervised", "dpo"]
ENDED = frozenset({"succeeded", "failed", "cancelled"})
_ODD = re.compile(r"[^\w.-]+")


class BaseModel(Value, frozen=True):
    """A base model on disk, and the recipe of its adapters.

    path: its folder, as `save_pretrained` of transformers writes one. targets: modules that get an adapter; every
    linear layer but the output when empty. saved: modules that are trained whole, which vLLM does not load.
    learning_rate: what a multiplier of 1 is; that of the method when None. longest: tokens of an example; the
    model's context when None. micro_batch: examples in memory at once. threads: on a CPU; another count may round
    otherwise, so the same adapter takes the same count.
    """

    path: str
    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ()
    saved: tuple[str, ...] = ()
    learning_rate: float | None = None
    longest: int | None = None
    micro_batch: int = 8
    threads: int = 1


class Job(Value, frozen=True):
    """What a worker is to do; `job.json`.

    name: under which the adapter will be called. adapter: the folder of one to go on from, beside the job's own, or
    None. at: when it was asked for, in seconds since 1970.
    """

    id: str
    name: str
    model: str
    base: BaseModel
    method: LocalMethod
    seed: int
    at: float
    hyperparameters: Parameters = ()
    adapter: str | None = None


class State(Value, frozen=True):
    """How a job stands; `state.json`.

    step: of those done. total_steps: None until the files are read. seconds: of computing, all starts together.
    adapter_sha256: of the finished `adapter_model.safetensors`.
    """

    status: Status = "queued"
    step: int = 0
    total_steps: int | None = None
    trained_tokens: int | None = None
    hyperparameters: Parameters = ()
    seconds: float = 0.0
    error: tuple[str, str, str | None] | None = None
    finished_at: float | None = None
    estimated_finish: float | None = None
    adapter_sha256: str | None = None


class Published(Value, frozen=True):
    """An adapter that may be called; a file of the folder `published`.

    name: the model to call. path: its folder, relative to the root. base_path: of the model that it belongs to.
    """

    name: str
    model: str
    base_path: str
    path: str


def tuned_name(plan: Plan, base_name: str) -> str:
    """`ft:{base}:{team}:{suffix}:{id}`, as OpenAI writes it: the id is the job's, so it is unique and known ahead."""
    team, suffix = _ODD.sub("-", plan.team), _ODD.sub("-", plan.suffix)
    return f"ft:{base_name}:{team}:{suffix}:{plan.job_id.removeprefix('ftjob-')}"


def checkpoint_name(name: str, step: int) -> str:
    """The model of a checkpoint."""
    return f"{name}:ckpt-step-{step}"
