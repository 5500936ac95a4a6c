"""The engine over both databases: who waits for whom, what budgets hold, what a lost result file costs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar

import msgspec
import pytest

from gateway.core.clock import Clock
from gateway.core.discovery import members
from gateway.core.errors import BudgetExceeded, NotFound, UpstreamFailed
from gateway.db.engine import Database
from gateway.policy.tuning_file import HostedTrainerEntry
from gateway.tuning import trainers
from gateway.tuning.contract import Happened, Plan, Progress, Source, Trainer, TrainerRefused
from gateway.tuning.jobs.asked import MethodAsked, MethodOptions, NewJob, Owner, asked_of, first_events, job_of
from gateway.tuning.jobs.engine import Booked, Checked, Engine
from gateway.tuning.jobs.store import Inside, TuningJobs
from gateway.tuning.jobs.values import JobEvent, TuningJob, Wanted
from tests.fakes.api_server import in_json
from tests.fakes.hosted_trainers import hosted
from tests.fakes.trainers import source

TOKENS, ROOM = 227, 300
KINDS: dict[str, Any] = members(trainers, "TRAINER")
GONE = TrainerRefused("The trainer refused (404): No such job.", answered=404)


class Around:
    """A gateway around the engine, and its trainer: jobs in the file `slow` are checked when `go` is set.

    Estimates are tokens, and all jobs share a budget of 300 of them.
    """

    kind: ClassVar[str] = "here"

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.checking = asyncio.Event()
        self.stopped = False
        self.progress = Progress("running")
        self.lost: frozenset[str] = frozenset()
        # The trainer, when it is not to be this.
        self.other: Trainer | None = None
        # What the next calls of a method of this one raise; the last one for good.
        self.faulty: dict[str, list[Exception | None]] = {}

    def _fault(self, method: str) -> None:
        faults = self.faulty.get(method, [])
        fault = faults.pop(0) if len(faults) > 1 else (faults or [None])[0]
        if fault is not None:
            raise fault

    def trainer(self, name: str) -> Trainer:
        del name
        return self.other or self

    async def source(self, job: TuningJob, file_id: str) -> Source:
        del job
        return source(b"{}", file_id)

    async def check(self, job: TuningJob, training: Source, validation: Source | None) -> Checked:
        del training, validation
        if job.training_file == "file-slow":
            self.checking.set()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.stopped = True
                raise
        return Checked(tokens=TOKENS)

    def admit_job(self, job: TuningJob, others: Sequence[TuningJob]) -> None:
        if sum(one.estimated_tokens or 0 for one in (job, *others)) > ROOM:
            raise BudgetExceeded("Team 'support' has no room.")

    async def publish(self, job: TuningJob, tuned_model: str) -> None:
        raise AssertionError((job, tuned_model))

    async def keep(self, job: TuningJob, name: str, content: bytes) -> str:
        del job, content
        return f"file-kept-{name}"

    def book(self, job: TuningJob, progress: Progress, at: float) -> Booked:
        del job, progress, at
        return Booked(1)

    def tell(self, job: TuningJob) -> Inside | None:
        del job
        return None

    async def made(self, job: TuningJob) -> None:
        raise AssertionError(job)

    def faults(self, plan: Plan) -> list[str]:
        del plan
        return []

    async def start(self, plan: Plan, training: Source, validation: Source | None) -> str:
        del training, validation
        self._fault("start")
        return plan.job_id

    async def watch(self, reference: str, since: int) -> Progress:
        del reference, since
        self._fault("watch")
        return self.progress

    async def cancel(self, reference: str) -> None:
        del reference
        self._fault("cancel")

    async def pause(self, reference: str) -> None:
        del reference

    async def resume(self, reference: str) -> None:
        del reference

    async def result(self, reference: str, name: str) -> bytes:
        if name in self.lost:
            raise NotFound(f"The trainer has no result file {name!r}.")
        return reference.encode()


@pytest.fixture
async def around() -> Around:
    return Around()


@contextlib.asynccontextmanager
async def at_work(database: Database, around: Around, engines: int = 1) -> AsyncIterator[TuningJobs]:
    store = TuningJobs(database)
    tasks = [asyncio.create_task(Engine(store, around, Clock()).run()) for _ in range(engines)]
    yield store
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def added(store: TuningJobs, training_file: str = "file-quick", days_ago: float = 0) -> TuningJob:
    body = NewJob("gpt", training_file, method=MethodAsked("supervised", supervised=MethodOptions()))
    job = job_of(body, asked_of(body), {}, Owner("support"), ("here", "main"), time.time() - days_ago * 86_400)
    await store.add(job, first_events(job))
    return job


async def until(store: TuningJobs, job: TuningJob, good: Callable[[TuningJob], bool]) -> TuningJob:
    async with asyncio.timeout(30):
        while True:
            found = await store.find(job.id)
            assert found is not None
            if good(found):
                return found
            await asyncio.sleep(0.05)


async def told(store: TuningJobs, job: TuningJob) -> list[JobEvent]:
    return list((await store.events(job, 100, None)).items)


async def test_a_step_that_takes_long_holds_up_no_other_job(database: Database, around: Around) -> None:
    async with at_work(database, around) as store:
        slow = await added(store, "file-slow")
        await asyncio.wait_for(around.checking.wait(), 30)
        quick = await added(store)
        await until(store, quick, lambda job: job.state == "running")
        waiting = await store.find(slow.id)
        assert waiting is not None
        assert (waiting.state, waiting.tries) == ("validating_files", 1)
    # Whoever ends the engine ends its steps too.
    assert around.stopped


async def test_five_jobs_that_do_not_fit_together_are_not_all_taken(database: Database, around: Around) -> None:
    """Two processes look at them at once; one job fits, whoever comes first."""
    store = TuningJobs(database)
    jobs = [await added(store) for _ in range(5)]
    async with at_work(database, around, engines=2):
        found = [await until(store, job, lambda one: one.state in {"running", "failed"}) for job in jobs]
    assert sorted(job.state for job in found) == ["failed"] * 4 + ["running"]
    assert all("insufficient_quota" in str(job.error) for job in found if job.state == "failed")


async def test_a_job_ends_without_a_result_file_that_its_trainer_has_lost(database: Database, around: Around) -> None:
    around.lost = frozenset({"metrics.csv"})
    around.progress = Progress(
        "succeeded", events=(Happened(0, 1.0, "info", "It is done."),), results=("metrics.csv", "steps.csv")
    )
    async with at_work(database, around) as store:
        job = await until(store, await added(store), lambda one: one.has_ended)
        assert (job.state, job.results) == ("succeeded", '["file-kept-steps.csv"]')
        events = await told(store, job)
    assert [(one.level, one.message) for one in events[:2]] == [
        ("warn", "A result file is missing: The trainer has no result file 'metrics.csv'."),
        ("info", "It is done."),
    ]
    assert [one.number for one in events] == list(range(len(events)))[::-1]


@pytest.mark.parametrize("method", ["start", "watch"])
async def test_a_job_that_is_refused_at_any_moment_fails_in_its_trainers_words(
    database: Database, around: Around, method: str
) -> None:
    around.faulty = {method: [GONE]}
    async with at_work(database, around) as store:
        job = await until(store, await added(store), lambda one: one.has_ended)
        assert (job.state, job.error) == ("failed", f'["training_refused","{GONE.message}",null]')
        assert next((one.level, one.message) for one in await told(store, job)) == ("error", GONE.message)


@pytest.mark.parametrize("method", ["cancel", "watch"])
async def test_a_cancelled_job_that_its_trainer_does_not_know_any_more_is_cancelled(
    database: Database, around: Around, method: str
) -> None:
    """Whether that is heard when it is told to end, or when it is looked at after."""
    async with at_work(database, around) as store:
        job = await until(store, await added(store), lambda one: one.state == "running")
        away = UpstreamFailed("It is away.")
        around.faulty = {"watch": [away]}
        await until(store, job, lambda one: one.quiet > 0)
        around.faulty = {"watch": [away], method: [GONE]}
        assert await store.want(job, "cancel", time.time())
        done = await until(store, job, lambda one: one.has_ended)
        assert (done.state, done.error, done.wanted) == ("cancelled", None, "")
        events = await told(store, done)
    assert [one.number for one in events] == list(range(done.events))[::-1]


async def test_a_step_that_breaks_off_halfway_keeps_what_it_told(database: Database, around: Around) -> None:
    """The trainer was told to pause and then went away: what comes later is told after that, not in its place."""
    async with at_work(database, around) as store:
        job = await until(store, await added(store), lambda one: one.state == "running")
        around.progress = Progress("running", events=(Happened(0, 1.0, "info", "Step 1."),))
        around.faulty = {"watch": [UpstreamFailed("It is away."), None]}
        assert await store.want(job, "pause", time.time())
        job = await until(store, job, lambda one: one.seen > 0)
        events = await told(store, job)
    assert {"Pausing the job", "Step 1."} <= {one.message for one in events}
    assert [one.number for one in events] == list(range(job.events))[::-1]


async def test_a_file_that_is_deleted_while_it_is_sent_fails_its_job(database: Database, around: Around) -> None:
    around.faulty = {"start": [NotFound("File 'file-quick' was deleted.")]}
    async with at_work(database, around) as store:
        job = await until(store, await added(store), lambda one: one.has_ended)
    assert (job.state, job.error) == (
        "failed",
        '["file_not_found","File \'file-quick\' was deleted.","training_file"]',
    )


async def test_a_fault_of_ours_is_tried_again_and_given_up_in_the_end(database: Database, around: Around) -> None:
    around.faulty = {"watch": [RuntimeError("A fault of ours.")]}
    async with at_work(database, around) as store:
        done = await until(store, await added(store, days_ago=46), lambda one: one.has_ended)
        assert done.state == "failed"
        assert "trainer_unreachable" in str(done.error)
        # Its hold is let go at once: it is tried again when it is due.
        waits = await until(store, await added(store), lambda one: one.quiet > 1)
        assert (waits.state, waits.has_ended) == ("queued", False)


@pytest.mark.parametrize("wanted", ["", "cancel"])
@pytest.mark.parametrize("kind", ["openai_api", "azure", "together", "fireworks"])
async def test_a_job_that_a_provider_has_lost_ends(
    database: Database, around: Around, kind: str, wanted: Wanted
) -> None:
    """The trainers that there are, at a provider that answers 404 to all that it is asked."""
    entry = HostedTrainerEntry.model_validate({"kind": kind, "upstream": "there", "account": "acme"})
    async with hosted(lambda _asked: in_json({"message": "Not found."}, 404), "/v1") as (_, means):
        around.other = KINDS[kind](entry, means)
        store = TuningJobs(database)
        body = NewJob("gpt", "file-quick", method=MethodAsked("supervised", supervised=MethodOptions()))
        job = job_of(body, asked_of(body), {}, Owner("support"), ("here", "main"), time.time())
        job = msgspec.structs.replace(job, state="running", reference="ft-lost", wanted=wanted)
        await store.add(job, first_events(job))
        async with at_work(database, around):
            done = await until(store, job, lambda one: one.has_ended)
    assert done.state == ("cancelled" if wanted else "failed")
    assert wanted or "404" in str(done.error)
