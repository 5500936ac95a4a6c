"""The engine over both databases: who waits for whom, what budgets hold, what a lost result file costs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import ClassVar

import pytest

from gateway.core.clock import Clock
from gateway.core.errors import BudgetExceeded, NotFound
from gateway.db.engine import Database
from gateway.tuning.contract import Happened, Plan, Progress, Source, Trainer
from gateway.tuning.jobs.asked import MethodAsked, MethodOptions, NewJob, Owner, asked_of, first_events, job_of
from gateway.tuning.jobs.engine import Booked, Checked, Engine
from gateway.tuning.jobs.store import Inside, TuningJobs
from gateway.tuning.jobs.values import JobEvent, TuningJob
from tests.fakes.trainers import source

TOKENS, ROOM = 227, 300


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

    def trainer(self, name: str) -> Trainer:
        del name
        return self

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
        return plan.job_id

    async def watch(self, reference: str, since: int) -> Progress:
        del reference, since
        return self.progress

    async def cancel(self, reference: str) -> None:
        del reference

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


async def added(store: TuningJobs, training_file: str = "file-quick") -> TuningJob:
    body = NewJob("gpt", training_file, method=MethodAsked("supervised", supervised=MethodOptions()))
    job = job_of(body, asked_of(body), {}, Owner("support"), ("here", "main"), time.time())
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
