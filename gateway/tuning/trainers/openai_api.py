"""OpenAI's fine-tuning API, at OpenAI and wherever else it is spoken. The bundled offline upstream speaks it too."""

from collections.abc import AsyncIterator
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import msgspec

from gateway.core.errors import NotFound, NotSupported, UpstreamFailed
from gateway.policy.tuning_file import HostedTrainerEntry
from gateway.tuning.contract import (
    Happened,
    Means,
    Parameters,
    Plan,
    Progress,
    Source,
    Status,
    TrainerRefused,
)
from gateway.tuning.hosted import AGAIN, NO_LIST, reference_of
from gateway.tuning.openai_objects import Event, Fault, Listed, Named, Point, happened, read, saved
from gateway.upstream.asking import ask

JOBS = "/fine_tuning/jobs"
# Under which key of a job's metadata our id stands at the provider: by it a job is found again that was begun in
# the moment before a crash.
MARK = "switchyard_job"
PAGE = 100
MOST_METADATA = 16
MOST_KNOWN = 1_000
# Metadata and hyperparameters have other limits elsewhere, but every provider of this API says so with a 4xx.
REFUSALS = range(400, 500)
ENDED = frozenset({"succeeded", "failed", "cancelled"})
STATUSES: dict[str, Status] = {
    "validating_files": "queued",
    "queued": "queued",
    "running": "running",
    "paused": "paused",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}


class _Refused(msgspec.Struct):
    error: Fault = msgspec.field(default_factory=Fault)


class JobFound(msgspec.Struct):
    """A job as the provider tells of it."""

    id: str = ""
    status: str = ""
    error: Fault | None = None
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    finished_at: float | None = None
    estimated_finish: float | None = None
    hyperparameters: dict[str, Any] | None = None
    method: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    suffix: str | None = None
    user_provided_suffix: str | None = None
    result_files: list[str] | None = None


class OpenaiApi:
    """Jobs at an upstream. A job's reference is its id there."""

    kind: ClassVar[str] = "openai_api"
    statuses: ClassVar[dict[str, Status]] = STATUSES

    def __init__(self, entry: HostedTrainerEntry, means: Means) -> None:
        self._entry = entry
        self._means = means
        # How many events a job had when it was last read, and the last one: only what follows is asked for.
        self._known: dict[str, tuple[int, str]] = {}

    def faults(self, plan: Plan) -> list[str]:
        """None: what a provider trains it says itself."""
        del plan
        return []

    async def start(self, plan: Plan, training: Source, validation: Source | None) -> str:
        """See Trainer. Looks first whether a job with our mark is there already."""
        found = await self._begun(plan.job_id)
        if found is not None:
            return found
        body = self.body(plan)
        body["training_file"] = await self._means.copied(self._entry.upstream, training, "fine-tune")
        if validation is not None:
            body["validation_file"] = await self._means.copied(self._entry.upstream, validation, "fine-tune")
        job: JobFound = read(await self._ask("POST", JOBS, msgspec.json.encode(body)), JobFound)
        return reference_of(job.id or await self._begun(plan.job_id))

    def body(self, plan: Plan) -> dict[str, Any]:
        """The request for a job, but for its files."""
        options: dict[str, Any] = {"hyperparameters": dict(plan.hyperparameters)}
        if plan.grader:
            options["grader"] = msgspec.Raw(plan.grader.encode())
        body: dict[str, Any] = {
            "model": plan.model,
            "seed": plan.seed,
            "method": {"type": plan.method, plan.method: options},
            "metadata": dict([*plan.metadata[: MOST_METADATA - 1], (MARK, plan.job_id)]),
        }
        if plan.suffix:
            body["suffix"] = plan.suffix
        if plan.integrations != "[]":
            body["integrations"] = msgspec.Raw(plan.integrations.encode())
        return body

    async def watch(self, reference: str, since: int) -> Progress:
        """See Trainer. The job is read before its events, so an end never comes without what led to it."""
        here = f"{JOBS}/{quote(reference, safe='')}"
        job = read(await self._ask("GET", here), JobFound)
        if job.status not in self.statuses:
            raise UpstreamFailed(f"Upstream {self._entry.upstream!r} says {job.status!r} of job {reference!r}.")
        events = await self._events(reference, since)
        points = [read(raw, Point) for raw in await self._told_of(f"{here}/checkpoints")]
        error = job.error
        told = None if error is None or not (error.code or error.message) else error
        return Progress(
            status=self.statuses[job.status],
            events=tuple(events),
            checkpoints=tuple([saved(point.step_number, point) for point in reversed(points)]),
            tuned_model=job.fine_tuned_model,
            trained_tokens=job.trained_tokens,
            hyperparameters=_resolved(job),
            error=None if told is None else (told.code or "training_failed", told.message or "", told.param),
            finished_at=job.finished_at,
            estimated_finish=job.estimated_finish,
            results=tuple(job.result_files or ()),
        )

    async def cancel(self, reference: str) -> None:
        """See Trainer. A provider refuses to cancel what has ended."""
        try:
            await self._told(reference, "cancel")
        except NotSupported:
            job = read(await self._ask("GET", f"{JOBS}/{quote(reference, safe='')}"), JobFound)
            if self.statuses.get(job.status) not in ENDED:
                raise

    async def pause(self, reference: str) -> None:
        """See Trainer."""
        await self._told(reference, "pause")

    async def resume(self, reference: str) -> None:
        """See Trainer."""
        await self._told(reference, "resume")

    async def result(self, reference: str, name: str) -> bytes:
        """See Trainer."""
        del reference
        upstream = self._means.upstream(self._entry.upstream)
        target = f"/files/{quote(name, safe='')}/content"
        status, content = await ask(upstream, "GET", target)
        if status in REFUSALS and status not in AGAIN:
            raise NotFound(f"The trainer has no result file {name!r} ({status}).")
        if status >= 300:
            raise UpstreamFailed(f"Upstream {upstream.name!r} answered {status} to GET {target}.")
        return content

    async def _told(self, reference: str, verb: str) -> None:
        """Raises NotSupported where the provider refuses: a job that has ended, or a verb it does not know."""
        try:
            await self._ask("POST", f"{JOBS}/{quote(reference, safe='')}/{verb}")
        except TrainerRefused as refusal:
            raise NotSupported(f"The trainer did not {verb} the job: {refusal.message}") from None

    async def _begun(self, job_id: str) -> str | None:
        # Not everybody who speaks this API knows the filter, so what comes is looked at.
        async for raw in self._items(JOBS, {f"metadata[{MARK}]": job_id}):
            job: JobFound = read(raw, JobFound)
            if job.id and self.is_marked(job, job_id):
                return job.id
        return None

    def is_marked(self, job: JobFound, job_id: str) -> bool:
        """Whether a job there is the one that was begun for this job of ours."""
        return (job.metadata or {}).get(MARK) == job_id

    async def _events(self, reference: str, since: int) -> list[Happened]:
        """Events from number `since` on, oldest first. Numbers count from the oldest, so all must be seen once."""
        count, last = self._known.get(reference, (0, ""))
        if count > since:
            count, last = 0, ""
        here = f"{JOBS}/{quote(reference, safe='')}/events"
        told = [read(raw, Event) for raw in await self._told_of(here, last)]
        fresh = [event for event in reversed(told) if event.id != last]
        numbered = [happened(count + place, event) for place, event in enumerate(fresh)]
        if fresh:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[reference] = (count + len(fresh), fresh[-1].id)
        return [event for event in numbered if event.number >= since]

    async def _told_of(self, target: str, last: str = "") -> list[msgspec.Raw]:
        """What a list of a job's has, down to the item `last`; nothing where the provider has no such list.

        The job itself was found, so that says nothing of the job.
        """
        told = []
        try:
            async for raw in self._items(target):
                told.append(raw)
                if last and read(raw, Named).id == last:
                    break
        except TrainerRefused as refusal:
            if refusal.answered in NO_LIST:
                return []
            raise
        return told

    async def _items(self, target: str, asked: dict[str, str] | None = None) -> AsyncIterator[msgspec.Raw]:
        after = ""
        while True:
            query = {"limit": PAGE, **(asked or {})} | ({"after": after} if after else {})
            page = read(await self._ask("GET", f"{target}?{urlencode(query)}"), Listed)
            for raw in page.data:
                yield raw
            last = read(page.data[-1], Named).id if page.has_more and page.data else ""
            # Whoever does not know `after` gives the same page for ever.
            if not last or last == after:
                return
            after = last

    async def _ask(self, method: str, target: str, body: bytes = b"") -> bytes:
        """The body of a 2xx. Raises TrainerRefused for what will not get better, else UpstreamFailed."""
        upstream = self._means.upstream(self._entry.upstream)
        status, answer = await ask(upstream, method, target, body)
        if status < 300:
            return answer
        if status in REFUSALS and status not in AGAIN:
            error = _refusal(answer)
            told = f"The trainer refused ({status}): {error.message or 'it gave no reason.'}"
            raise TrainerRefused(told, param=error.param, answered=status)
        raise UpstreamFailed(f"Upstream {upstream.name!r} answered {status} to {method} {target.partition('?')[0]}.")


def _refusal(answer: bytes) -> Fault:
    try:
        return msgspec.json.decode(answer, type=_Refused).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Fault()


def _resolved(job: JobFound) -> Parameters:
    method = job.method or {}
    options = method.get(str(method.get("type"))) or {}
    found = {**(job.hyperparameters or {}), **_concrete(options.get("hyperparameters"))}
    return tuple(_concrete(found).items())


def _concrete(written: Any) -> dict[str, float | int | str]:
    pairs = written.items() if isinstance(written, dict) else ()
    return {str(name): value for name, value in pairs if isinstance(value, int | float | str) and value != "auto"}


TRAINER = OpenaiApi
