"""Carries jobs from being asked for to their end, whatever dies on the way.

Each job is looked after by one process at a time. A step reads what its trainer says and writes all of it (events,
checkpoints, state) in one transaction, with how far it has read: killed between the two it reads the same again, so
that no event is lost or told twice. The end is booked before it is told; the row in the books has the job's id, so a
second booking changes nothing.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from gateway.core.clock import Clock
from gateway.core.errors import (
    BudgetExceeded,
    GatewayError,
    NotFound,
    NotSupported,
    UpstreamFailed,
    UpstreamTimeout,
)
from gateway.core.values import Value
from gateway.db.away import told_when_away
from gateway.tuning.contract import Happened, Progress, Source, Trainer, TrainerRefused
from gateway.tuning.jobs.store import Inside, Lost, Model, TuningJobs
from gateway.tuning.jobs.values import ENDED, JobEvent, State, TuningJob, Wanted, parameters_text

LOOK_SECONDS = 0.5
HOLD_SECONDS = 15.0
AT_ONCE = 10
FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
FACTOR = 1.4
# OpenAI ends a job after some days; a trainer that says nothing of it for this long is not going to.
MOST_SECONDS = 45 * 86_400.0
SPREAD = 0.2
MOST_FAULTS_TOLD = 20
# Within this every worker has taken over a change of the registry.
KNOWN_SECONDS = 1.0
DOING = {"cancel": "Cancelling the job", "pause": "Pausing the job", "resume": "Resuming the job"}

log = logging.getLogger("gateway.tuning")


class Checked(Value, frozen=True):
    """What looking at a job's files gave. faults: why it cannot be trained; tokens: that training will take."""

    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tokens: int | None = None
    dataset_hash: str = ""


class Booked(Value, frozen=True):
    """What a training came to; None when there is no price for it."""

    cost_nano_usd: int | None


class Around(Protocol):
    """What the engine needs of the gateway around it."""

    def trainer(self, name: str) -> Trainer | None:
        """The trainer of that name, or None when the policy has it no more."""
        ...

    async def source(self, job: TuningJob, file_id: str) -> Source | None:
        """A file of the job's team, or None."""
        ...

    async def check(self, job: TuningJob, training: Source, validation: Source | None) -> Checked:
        """Looks whether the files can be trained on, and what that would come to."""
        ...

    def admit_job(self, job: TuningJob, others: Sequence[TuningJob]) -> None:
        """Raises BudgetExceeded (429) when a hard budget has no room for the job beside others that are not booked.

        Each has its estimate in it.
        """
        ...

    async def publish(self, job: TuningJob, tuned_model: str) -> None:
        """Has what came of the job served. Raises UpstreamFailed where that must be tried again."""
        ...

    async def keep(self, job: TuningJob, name: str, content: bytes) -> str:
        """Keeps a result file for the job's team, and gives its id. The same name again is the same file."""
        ...

    def book(self, job: TuningJob, progress: Progress, at: float) -> Booked:
        """Books the training, without an await; the same job again changes nothing."""
        ...

    def tell(self, job: TuningJob) -> Inside | None:
        """What tells others of an end, in the transaction that makes it one."""
        ...

    async def made(self, job: TuningJob) -> None:
        """What came of the job may be called now."""
        ...


class Engine:
    """Looks after the jobs of all processes."""

    def __init__(self, store: TuningJobs, around: Around, clock: Clock) -> None:
        self._store = store
        self._around = around
        self._clock = clock
        self._woken = asyncio.Event()
        self._working: dict[asyncio.Task[None], TuningJob] = {}

    async def run(self) -> None:
        """Looks after jobs, for ever: a step of one that takes long holds up no other.

        Raises the database's error when it is away.
        """
        keeping = asyncio.create_task(self._keep())
        try:
            while True:
                self._woken.clear()
                room = AT_ONCE - len(self._working)
                claimed = await self._store.claim(self._clock.wall(), HOLD_SECONDS, room) if room > 0 else []
                for job in claimed:
                    self._take_up(job)
                # Not `wait_for`: in Python 3.11 it may swallow being cancelled at the moment when it is woken.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._woken.wait()
        finally:
            ending = [keeping, *self._working]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            self._working.clear()

    def _take_up(self, job: TuningJob) -> None:
        task = asyncio.create_task(self._step(job), name="tuning-job")
        self._working[task] = job

        def ended(done: asyncio.Task[None]) -> None:
            self._working.pop(done, None)
            if not done.cancelled() and done.exception() is not None:
                # Its hold ends by itself; then it is taken up again.
                log.error("job_step_failed", exc_info=done.exception(), extra={"fields": {"job": job.id}})
            self._woken.set()

        task.add_done_callback(ended)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(HOLD_SECONDS / 3)
            working = list(self._working.values())
            if working:
                with contextlib.suppress(GatewayError), told_when_away("jobs"):
                    await self._store.hold(working, self._clock.wall() + HOLD_SECONDS)

    async def _step(self, job: TuningJob) -> None:
        try:
            await self._looked_after(job)
        except Lost:
            log.info("job_taken_over", extra={"fields": {"job": job.id}})
        except (TrainerRefused, BudgetExceeded, NotFound) as refusal:
            with contextlib.suppress(Lost):
                await self._broken_off(await self._as_written(job), refusal, job.wanted)
        except (UpstreamFailed, UpstreamTimeout) as fault:
            log.warning("trainer_not_reached", extra={"fields": {"job": job.id, "error": fault.message}})
            with contextlib.suppress(Lost):
                await self._given_up_or_later(await self._as_written(job))
        except Exception:
            # A fault of ours, or the database's; while that is away this raises too, and the hold ends by itself.
            log.exception("job_step_failed", extra={"fields": {"job": job.id}})
            with contextlib.suppress(Lost):
                await self._given_up_or_later(await self._as_written(job))

    async def _as_written(self, job: TuningJob) -> TuningJob:
        """The job with what its step wrote before it broke off. Raises Lost where nothing may be written any more."""
        found = await self._store.find(job.id)
        if found is None or found.tries != job.tries or found.has_ended:
            raise Lost(job.id)
        return found

    async def _broken_off(self, job: TuningJob, refusal: GatewayError, wanted: Wanted) -> None:
        """Ends a job that will not go on. wanted: what its step was to do, which may be noted as done by now."""
        is_unknown = isinstance(refusal, TrainerRefused) and refusal.is_unknown
        if is_unknown and job.reference is not None and "cancel" in {wanted, job.wanted}:
            await self._end(job, "cancelled", Progress("cancelled"))
        elif isinstance(refusal, NotFound) and job.reference is None:
            # A file was deleted while it was read.
            await self._refused(job, "file_not_found", refusal.message)
        else:
            await self._refused(job, refusal.code, refusal.message, refusal.param)

    async def _looked_after(self, job: TuningJob) -> None:
        trainer = self._around.trainer(job.trainer)
        if trainer is None:
            log.error("trainer_gone", extra={"fields": {"job": job.id, "trainer": job.trainer}})
            await self._given_up_or_later(job)
            return
        if job.state == "validating_files":
            await self._validate(job, trainer)
        elif job.reference is None:
            await self._begin(job, trainer)
        else:
            await self._watch(job, trainer, job.reference)

    async def _validate(self, job: TuningJob, trainer: Trainer) -> None:
        if job.wanted == "cancel":
            await self._end(job, "cancelled", Progress("cancelled"))
            return
        plan = job.plan()
        files = await self._files(job)
        if isinstance(files, str):
            await self._refused(job, "file_not_found", files)
            return
        faults = trainer.faults(plan)
        if faults:
            await self._refused(job, "unsupported_job", " ".join(faults), None)
            return
        checked = await self._around.check(job, *files)
        if checked.faults:
            told = [self._event(job, place, text, "error") for place, text in enumerate(_bounded(checked.faults))]
            more = len(checked.faults) - 1
            summary = checked.faults[0] + (f" ({more} more in the job's events.)" if more else "")
            error = ("invalid_training_file", summary, "training_file")
            await self._end(job, "failed", Progress("failed", error=error), told)
            return
        texts: list[tuple[str, str]] = [("Files validated, moving job to queued state", "info")]
        texts = [(text, "warn") for text in _bounded(checked.warnings)] + texts
        events = [self._event(job, place, text, level) for place, (text, level) in enumerate(texts)]
        values = {
            "state": "queued",
            "estimated_tokens": checked.tokens,
            "dataset_hash": checked.dataset_hash,
            **self._soon(),
        }
        estimated = msgspec.structs.replace(job, estimated_tokens=checked.tokens)
        admitted = self._store.beside_others(job, lambda others: self._around.admit_job(estimated, others))
        await self._store.step(job, values, events, inside=admitted)

    async def _begin(self, job: TuningJob, trainer: Trainer) -> None:
        if job.wanted == "cancel":
            await self._end(job, "cancelled", Progress("cancelled"))
            return
        files = await self._files(job)
        if isinstance(files, str):
            await self._refused(job, "file_not_found", files)
            return
        reference = await trainer.start(job.plan(), *files)
        await self._store.step(job, {"reference": reference, **self._soon()})

    async def _files(self, job: TuningJob) -> tuple[Source, Source | None] | str:
        """The job's files, or what is wrong with them."""
        training = await self._around.source(job, job.training_file)
        if training is None:
            return f"The training file {job.training_file!r} was deleted."
        if job.validation_file is None:
            return training, None
        validation = await self._around.source(job, job.validation_file)
        return (training, validation) if validation else f"The validation file {job.validation_file!r} was deleted."

    async def _watch(self, job: TuningJob, trainer: Trainer, reference: str) -> None:
        if job.wanted:
            job = await self._do(job, trainer, reference, job.wanted)
        progress = await trainer.watch(reference, job.seen)
        state: State = progress.status
        events = [_kept(job, place, event) for place, event in enumerate(progress.events)]
        if state in ENDED:
            await self._finish(job, trainer, progress, events)
            return
        is_news = bool(events) or state != job.state
        quiet = 0 if is_news else job.quiet + 1
        values: dict[str, Any] = {
            "state": state,
            "seen": job.seen + len(events),
            "estimated_finish": progress.estimated_finish,
            "due_at": self._clock.wall() + _pause(quiet),
            "held_until": None,
            "quiet": quiet,
        }
        if progress.hyperparameters:
            values["resolved"] = parameters_text(progress.hyperparameters)
        await self._store.step(job, values, events, progress.checkpoints)

    async def _do(self, job: TuningJob, trainer: Trainer, reference: str, wanted: Wanted) -> TuningJob:
        do = {"cancel": trainer.cancel, "pause": trainer.pause, "resume": trainer.resume}[wanted]
        text, level = DOING[wanted], "info"
        try:
            await do(reference)
        except NotSupported as fault:
            text, level = fault.message, "warn"
        return await self._store.step(job, {"wanted": ""}, [self._event(job, 0, text, level)])

    async def _finish(self, job: TuningJob, trainer: Trainer, progress: Progress, events: list[JobEvent]) -> None:
        """The end as its trainer tells it: results are kept first, then it is booked, then told."""
        kept, missing = [], []
        for name in progress.results:
            try:
                content = await trainer.result(str(job.reference), name)
            except NotFound as fault:
                # What the trainer has lost it has lost: the model is there all the same.
                log.warning("result_missing", extra={"fields": {"job": job.id, "file": name}})
                missing.append(f"A result file is missing: {fault.message}")
                continue
            kept.append(await self._around.keep(job, name, content))
        if progress.tuned_model is not None:
            await self._callable(job, progress, progress.tuned_model)
        ended: State = progress.status
        job = await self._store.step(job, {"results": msgspec.json.encode(kept).decode()})
        await self._end(job, ended, progress, events, missing)

    async def _end(
        self,
        job: TuningJob,
        state: State,
        progress: Progress,
        events: list[JobEvent] | None = None,
        missing: Sequence[str] = (),
    ) -> None:
        told = list(events or ())
        seen = job.seen + (len(told) if job.reference is not None else 0)
        now = self._clock.wall()
        if job.ended_at is None:
            # Fixed before it is booked: whoever books it again books the same.
            job = await self._store.step(job, {"ended_at": progress.finished_at or now})
        at = job.ended_at or now
        cost = self._around.book(job, progress, at) if job.reference is not None else None
        told = [msgspec.structs.replace(event, number=job.events + place) for place, event in enumerate(told)]
        if progress.error is not None and not told:
            told.append(self._event(job, 0, progress.error[1], "error"))
        told += [self._event(job, place, text, "warn") for place, text in enumerate(missing, len(told))]
        values: dict[str, Any] = {
            "state": state,
            "wanted": "",
            "seen": seen,
            "tuned_model": progress.tuned_model,
            "trained_tokens": progress.trained_tokens,
            "error": None if progress.error is None else msgspec.json.encode(progress.error).decode(),
            "finished_at": at,
            "estimated_finish": None,
            "cost_nano_usd": None if cost is None else cost.cost_nano_usd,
            "due_at": None,
            "held_until": None,
        }
        if progress.hyperparameters:
            values["resolved"] = parameters_text(progress.hyperparameters)
        ended = msgspec.structs.replace(job, state=state, tuned_model=progress.tuned_model)
        await self._store.step(job, values, told, progress.checkpoints, self._around.tell(ended))

    async def _callable(self, job: TuningJob, progress: Progress, tuned_model: str) -> None:
        """Has what came of the job answer calls, at every worker, before anybody hears of it."""
        await self._around.publish(job, tuned_model)
        names = dict.fromkeys([*(point.model for point in progress.checkpoints), tuned_model])
        at = progress.finished_at or self._clock.wall()
        await self._store.made([Model(name, job.team, job.serves_at, job.model, job.id, at) for name in names])
        await self._around.made(job)
        await asyncio.sleep(KNOWN_SECONDS)

    async def _refused(self, job: TuningJob, code: str, message: str, param: str | None = "training_file") -> None:
        await self._end(job, "failed", Progress("failed", error=(code, message, param)))

    async def _given_up_or_later(self, job: TuningJob) -> None:
        now = self._clock.wall()
        if now - job.created_at > MOST_SECONDS:
            log.error("job_given_up", extra={"fields": {"job": job.id, "trainer": job.trainer}})
            error = ("trainer_unreachable", f"The job could not be followed at {job.trainer!r} for 45 days.", None)
            await self._end(job, "failed", Progress("failed", error=error))
            return
        quiet = job.quiet + 1
        await self._store.step(job, {"due_at": now + _pause(quiet), "held_until": None, "quiet": quiet})

    def _soon(self) -> dict[str, Any]:
        return {"due_at": self._clock.wall(), "held_until": None, "quiet": 0}

    def _event(self, job: TuningJob, place: int, text: str, level: Any = "info") -> JobEvent:
        return JobEvent(job.id, job.events + place, self._clock.wall(), level, text)


def _kept(job: TuningJob, place: int, event: Happened) -> JobEvent:
    return JobEvent(job.id, job.events + place, event.at, event.level, event.message, event.kind, event.data)


def _bounded(texts: tuple[str, ...]) -> list[str]:
    told = list(texts[:MOST_FAULTS_TOLD])
    more = len(texts) - len(told)
    return [*told, f"... and {more} more."] if more else told


def _pause(quiet: int) -> float:
    pause: float = min(FIRST_SECONDS * FACTOR ** min(quiet, 30), LONGEST_SECONDS)
    spread = 1 + SPREAD * (2 * random.random() - 1)  # noqa: S311  # a spread, not a secret
    return pause * spread
