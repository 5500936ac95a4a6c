"""Fireworks: supervised jobs and datasets below an account of its control API; calls go to another address.

It tells no events and no tokens: what a job has come to is told from its state and epochs. The seed of a job is not
passed on, as there is none to set.
"""

from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import msgspec

from gateway.core.errors import NotFound, NotSupported, UpstreamFailed
from gateway.policy.tuning_file import HostedTrainerEntry
from gateway.tuning.contract import Happened, Means, Parameters, Plan, Progress, Source, Status, TrainerRefused
from gateway.tuning.hosted import Hosted, file_form, marked_suffix, read, reference_of, unix_seconds, unsupported

STATES: dict[str, Status] = {
    "JOB_STATE_CREATING": "queued",
    "JOB_STATE_CREATING_INPUT_DATASET": "queued",
    "JOB_STATE_VALIDATING": "queued",
    "JOB_STATE_PENDING": "queued",
    "JOB_STATE_RE_QUEUEING": "queued",
    "JOB_STATE_RUNNING": "running",
    "JOB_STATE_WRITING_RESULTS": "running",
    "JOB_STATE_CANCELLING": "running",
    "JOB_STATE_PAUSED": "paused",
    "JOB_STATE_COMPLETED": "succeeded",
    "JOB_STATE_EARLY_STOPPED": "succeeded",
    "JOB_STATE_FAILED": "failed",
    "JOB_STATE_EXPIRED": "failed",
    "JOB_STATE_CANCELLED": "cancelled",
    "JOB_STATE_DELETING": "cancelled",
    "JOB_STATE_DELETING_CLEANING_UP": "cancelled",
}
ENDED = frozenset({"succeeded", "failed", "cancelled"})
# A name of its resources has at most 63 characters.
MOST_NAME = 60
# What its direct upload takes; above that it wants signed addresses, which are not asked for here.
MOST_BYTES = 150 * 1024 * 1024
READY, PAGE = "READY", 200


class _Status(msgspec.Struct):
    message: str = ""


class _Dataset(msgspec.Struct):
    state: str = ""
    status: _Status | None = None


class _Reached(msgspec.Struct):
    epoch: int | None = None


class _Job(msgspec.Struct, rename="camel"):
    name: str = ""
    display_name: str = ""
    state: str = ""
    status: _Status | None = None
    create_time: str | None = None
    update_time: str | None = None
    completed_time: str | None = None
    output_model: str | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size_samples: int | None = None
    job_progress: _Reached | None = None


class _Jobs(msgspec.Struct, rename="camel"):
    supervised_fine_tuning_jobs: list[_Job] = []
    next_page_token: str = ""


class Fireworks:
    """Jobs of an account. A job's reference is the last part of its name."""

    kind: ClassVar[str] = "fireworks"

    def __init__(self, entry: HostedTrainerEntry, means: Means) -> None:
        self._hosted = Hosted(entry.upstream, means)
        self._account = f"/accounts/{quote(entry.account or '', safe='')}"
        self._jobs = f"{self._account}/supervisedFineTuningJobs"

    def faults(self, plan: Plan) -> list[str]:
        """See Trainer."""
        return unsupported(plan, "Fireworks", ("supervised",), frozenset({"n_epochs", "batch_size"}))

    async def start(self, plan: Plan, training: Source, validation: Source | None) -> str:
        """See Trainer. Looks first whether a job of that name is there already.

        Raises UpstreamFailed while a dataset is still looked at there: it is asked again later.
        """
        found = await self._begun(plan.job_id)
        if found is not None:
            return found
        base = plan.model if "/" in plan.model else f"accounts/fireworks/models/{plan.model}"
        parameters = dict(plan.hyperparameters)
        body: dict[str, Any] = {
            "displayName": plan.job_id,
            "baseModel": base,
            "dataset": await self._copied(training),
            "outputModel": f"{self._account.removeprefix('/')}/models/{marked_suffix(plan, MOST_NAME)}",
        }
        if validation is not None:
            body["evaluationDataset"] = await self._copied(validation)
        if "n_epochs" in parameters:
            body["epochs"] = parameters["n_epochs"]
        if "batch_size" in parameters:
            body["batchSizeSamples"] = parameters["batch_size"]
        made = read(await self._hosted.ask("POST", self._jobs, body), _Job).name.rpartition("/")[2]
        return reference_of(made or await self._begun(plan.job_id))

    async def _begun(self, job_id: str) -> str | None:
        token = ""
        while True:
            query = urlencode({"pageSize": PAGE} | ({"pageToken": token} if token else {}))
            page = read(await self._hosted.ask("GET", f"{self._jobs}?{query}"), _Jobs)
            for job in page.supervised_fine_tuning_jobs:
                if job.display_name == job_id:
                    return _last(job.name)
            token = page.next_page_token
            if not token:
                return None

    async def _copied(self, source: Source) -> str:
        """The name of the dataset there, which has our file's id."""
        if source.file.size > MOST_BYTES:
            told = f"The file has {source.file.size:,} bytes; what is uploaded to Fireworks has at most {MOST_BYTES:,}."
            raise TrainerRefused(told, param="training_file")
        identity = "".join(char if char.isalnum() else "-" for char in source.file.id.lower())
        here = f"{self._account}/datasets/{identity}"
        try:
            there = read(await self._hosted.ask("GET", here), _Dataset)
        except TrainerRefused as refusal:
            if not refusal.is_unknown:
                raise
            made = {"datasetId": identity, "dataset": {"userUploaded": {}}}
            there = read(await self._hosted.ask("POST", f"{self._account}/datasets", made), _Dataset)
        if there.state != READY:
            # Made and not filled, or filled by a process that died: the same bytes again change nothing.
            form = await file_form(source, f"{identity}.jsonl", {})
            await self._hosted.ask("POST", f"{here}:upload", form=form)
            there = read(await self._hosted.ask("GET", here), _Dataset)
        if there.state != READY:
            raise UpstreamFailed(f"Fireworks says {there.state!r} of the dataset {identity!r}; it is not ready yet.")
        return here.removeprefix("/")

    async def watch(self, reference: str, since: int) -> Progress:
        """See Trainer. An event has its number by what it says, so each keeps its own however often is asked."""
        job = read(await self._hosted.ask("GET", self._of(reference)), _Job)
        status = STATES.get(job.state)
        if status is None:
            raise UpstreamFailed(f"Fireworks says {job.state!r} of job {reference!r}.")
        why = (job.status.message if job.status is not None else "") or "Fireworks gave no reason."
        ended = unix_seconds(job.completed_time) or unix_seconds(job.update_time)
        return Progress(
            status=status,
            events=tuple([event for event in _events(job, status, why) if event.number >= since]),
            tuned_model=job.output_model if status == "succeeded" else None,
            hyperparameters=_resolved(job),
            error=("training_failed", why, None) if status == "failed" else None,
            finished_at=ended if status in ENDED else None,
        )

    async def cancel(self, reference: str) -> None:
        """See Trainer."""
        try:
            await self._hosted.ask("POST", f"{self._of(reference)}:cancel", {})
        except TrainerRefused as refusal:
            job = read(await self._hosted.ask("GET", self._of(reference)), _Job)
            if STATES.get(job.state) not in ENDED:
                raise NotSupported(f"The trainer did not cancel the job: {refusal.message}") from None

    async def pause(self, reference: str) -> None:
        """Raises NotSupported: its API has no such request."""
        raise NotSupported(f"Fireworks cannot pause a job ({reference}) on request; it can be cancelled.")

    async def resume(self, reference: str) -> None:
        """Goes on with a job that Fireworks itself has paused. Raises NotSupported where it refuses."""
        try:
            await self._hosted.ask("POST", f"{self._of(reference)}:resume", {})
        except TrainerRefused as refusal:
            raise NotSupported(f"The trainer did not resume the job: {refusal.message}") from None

    async def result(self, reference: str, name: str) -> bytes:
        """Raises NotFound: it gives no result files."""
        raise NotFound(f"Job {reference!r} at Fireworks has no result file {name!r}.")

    def _of(self, reference: str) -> str:
        return f"{self._jobs}/{quote(reference, safe='')}"


def _last(name: str) -> str:
    found = name.rpartition("/")[2]
    if not found:
        raise UpstreamFailed("Fireworks gave a job without a name.")
    return found


def _events(job: _Job, status: Status, why: str) -> list[Happened]:
    began = unix_seconds(job.create_time) or 0.0
    at = unix_seconds(job.update_time) or began
    texts = [f"Fireworks has the job as {_last(job.name)}"]
    if status not in {"queued", "paused"}:
        texts.append("The job has left the queue")
        reached = job.job_progress.epoch if job.job_progress is not None else None
        # One that has succeeded is through with all of its epochs, whatever was told last.
        epochs = (job.epochs or 0) if job.state == "JOB_STATE_COMPLETED" else (reached or 0)
        texts += [f"Epoch {epoch} is done" for epoch in range(1, epochs + 1)]
    if status in ENDED:
        texts.append(why if status == "failed" else f"The job has {'been ' if status == 'cancelled' else ''}{status}")
    level: Any = "error" if status == "failed" else "info"
    last = len(texts) - 1
    return [
        Happened(number, at if number else began, level if number == last else "info", text)
        for number, text in enumerate(texts)
    ]


def _resolved(job: _Job) -> Parameters:
    found = {"n_epochs": job.epochs, "batch_size": job.batch_size_samples, "learning_rate": job.learning_rate}
    return tuple([(name, value) for name, value in found.items() if value is not None])


TRAINER = Fireworks
