"""Together: jobs at `/fine-tunes`, files of its own, a learning rate and no multiplier.

It keeps no metadata of a job: the mark stands in the suffix, which is in the tuned model's name. The seed of a job is
not passed on, as there is none to set.
"""

from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from gateway.core.errors import NotFound, NotSupported, UpstreamFailed
from gateway.policy.tuning_file import HostedTrainerEntry
from gateway.tuning.contract import Happened, Means, Parameters, Plan, Progress, Saved, Source, Status, TrainerRefused
from gateway.tuning.hosted import (
    NO_LIST,
    Hosted,
    file_form,
    mark_of,
    marked_suffix,
    read,
    reference_of,
    unix_seconds,
    unsupported,
)

JOBS, FILES = "/fine-tunes", "/files"
# Together's limit is 64.
MOST_SUFFIX = 60
METHODS = {"supervised": "sft", "dpo": "dpo"}
STATUSES: dict[str, Status] = {
    "pending": "queued",
    "queued": "queued",
    "running": "running",
    "compressing": "running",
    "uploading": "running",
    "cancel_requested": "running",
    "completed": "succeeded",
    "error": "failed",
    "user_error": "failed",
    "cancelled": "cancelled",
}
ENDED = frozenset({"succeeded", "failed", "cancelled"})
LEVELS: dict[str, Any] = {"warning": "warn", "error": "error"}


class _File(msgspec.Struct):
    id: str = ""
    filename: str = ""


class _Files(msgspec.Struct):
    data: list[_File] = []


class _Event(msgspec.Struct):
    created_at: str | None = None
    level: str | None = None
    message: str | None = None
    type: str | None = None
    step: int | None = None
    checkpoint_path: str | None = None


class _Events(msgspec.Struct):
    data: list[_Event] = []


class _Job(msgspec.Struct):
    id: str = ""
    status: str = ""
    suffix: str | None = None
    model_output_name: str | None = None
    output_name: str | None = None
    n_epochs: int | None = None
    batch_size: int | str | None = None
    learning_rate: float | None = None
    updated_at: str | None = None

    @property
    def output(self) -> str | None:
        """The name of the tuned model, settled when the job is made."""
        return self.model_output_name or self.output_name


class _Jobs(msgspec.Struct):
    data: list[_Job] = []


class Together:
    """Jobs at Together. A job's reference is its id there."""

    kind: ClassVar[str] = "together"

    def __init__(self, entry: HostedTrainerEntry, means: Means) -> None:
        self._hosted = Hosted(entry.upstream, means)

    def faults(self, plan: Plan) -> list[str]:
        """See Trainer."""
        return unsupported(plan, "Together", tuple(METHODS), frozenset({"n_epochs", "batch_size", "beta"}))

    async def start(self, plan: Plan, training: Source, validation: Source | None) -> str:
        """See Trainer. Looks first whether a job with our mark is there already."""
        found = await self._begun(plan.job_id)
        if found:
            return found
        body: dict[str, Any] = {
            "model": plan.model,
            "suffix": marked_suffix(plan, MOST_SUFFIX),
            "training_file": await self._copied(training),
        }
        body |= {name: value for name, value in plan.hyperparameters if name in {"n_epochs", "batch_size"}}
        if validation is not None:
            body["validation_file"] = await self._copied(validation)
        method: dict[str, Any] = {"method": METHODS.get(plan.method, plan.method)}
        beta = dict(plan.hyperparameters).get("beta")
        body["training_method"] = method if beta is None else method | {"dpo_beta": beta}
        made = read(await self._hosted.ask("POST", JOBS, body), _Job).id
        return reference_of(made or await self._begun(plan.job_id))

    async def _begun(self, job_id: str) -> str | None:
        mark = mark_of(job_id)
        jobs = read(await self._hosted.ask("GET", JOBS), _Jobs)
        marked = (job.id for job in jobs.data if mark in (job.suffix or "") or mark in (job.output or ""))
        return next((found for found in marked if found), None)

    async def _copied(self, source: Source) -> str:
        """The file's id there: of a copy that has our id for a name, or of a new one."""
        filename = f"{source.file.id}.jsonl"
        there = read(await self._hosted.ask("GET", FILES), _Files)
        for file in there.data:
            if file.filename == filename:
                return file.id
        form = await file_form(source, filename, {"purpose": "fine-tune", "file_name": filename, "file_type": "jsonl"})
        return read(await self._hosted.ask("POST", f"{FILES}/upload", form=form), _File).id

    async def watch(self, reference: str, since: int) -> Progress:
        """See Trainer. What it trained in tokens is not told so that it could be relied on, and stays unknown."""
        here = f"{JOBS}/{quote(reference, safe='')}"
        job = read(await self._hosted.ask("GET", here), _Job)
        status = STATUSES.get(job.status)
        if status is None:
            raise UpstreamFailed(f"Together says {job.status!r} of job {reference!r}.")
        told = await self._told_of(here)
        # Oldest first, whatever the order they came in: a number once given to an event stays its own.
        told.sort(key=lambda event: unix_seconds(event.created_at) or 0.0)
        events = [_happened(number, event) for number, event in enumerate(told)]
        why = next((event.message for event in reversed(told) if _level(event) == "error" and event.message), "")
        ended = status in ENDED
        return Progress(
            status=status,
            events=tuple([event for event in events if event.number >= since]),
            checkpoints=_checkpoints(told, job.output or reference),
            tuned_model=job.output if status == "succeeded" else None,
            hyperparameters=_resolved(job),
            error=("training_failed", why or "Together gave no reason.", None) if status == "failed" else None,
            finished_at=unix_seconds(job.updated_at) if ended else None,
        )

    async def _told_of(self, here: str) -> list[_Event]:
        try:
            return read(await self._hosted.ask("GET", f"{here}/events"), _Events).data
        except TrainerRefused as refusal:
            if refusal.answered in NO_LIST:
                return []
            raise

    async def cancel(self, reference: str) -> None:
        """See Trainer."""
        here = f"{JOBS}/{quote(reference, safe='')}"
        try:
            await self._hosted.ask("POST", f"{here}/cancel")
        except TrainerRefused as refusal:
            job = read(await self._hosted.ask("GET", here), _Job)
            if STATUSES.get(job.status) not in ENDED:
                raise NotSupported(f"The trainer did not cancel the job: {refusal.message}") from None

    async def pause(self, reference: str) -> None:
        """Raises NotSupported: Together has no such thing."""
        raise NotSupported(f"Together cannot pause a job ({reference}); it can be cancelled.")

    async def resume(self, reference: str) -> None:
        """Raises NotSupported: Together has no such thing."""
        raise NotSupported(f"Together cannot resume a job ({reference}).")

    async def result(self, reference: str, name: str) -> bytes:
        """Raises NotFound: it gives no result files."""
        raise NotFound(f"Job {reference!r} at Together has no result file {name!r}.")


def _level(event: _Event) -> Any:
    return LEVELS.get((event.level or "").lower(), "info")


def _happened(number: int, event: _Event) -> Happened:
    message = event.message or event.type or "It went on."
    return Happened(number, unix_seconds(event.created_at) or 0.0, _level(event), message)


def _checkpoints(events: list[_Event], output: str) -> tuple[Saved, ...]:
    saved = [event for event in events if (event.type or "").lower() == "checkpoint_save" and event.step is not None]
    return tuple(
        [
            Saved(number, unix_seconds(event.created_at) or 0.0, event.step or 0, f"{output}:{event.step}")
            for number, event in enumerate(saved)
        ]
    )


def _resolved(job: _Job) -> Parameters:
    found = {"n_epochs": job.n_epochs, "batch_size": job.batch_size, "learning_rate": job.learning_rate}
    return tuple([(name, value) for name, value in found.items() if isinstance(value, int | float)])


TRAINER = Together
