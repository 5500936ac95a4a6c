"""Fine-tuning jobs in both databases: whoever holds a job writes it, whoever lost it writes nothing."""

import msgspec
import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.page import PageAsked
from gateway.db.engine import Database
from gateway.tuning.contract import Saved
from gateway.tuning.jobs.asked import MethodAsked, MethodOptions, NewJob, Owner, asked_of, first_events, job_of
from gateway.tuning.jobs.models.store import NOBODY, TunedModels
from gateway.tuning.jobs.store import Lost, Model, TuningJobs, number_of
from gateway.tuning.jobs.values import JobEvent, TuningJob
from tests.fakes.calls import NOON

BODY = NewJob("gpt-4o-mini-2024-07-18", "file-sw1", method=MethodAsked("supervised", supervised=MethodOptions()))


def made(team: str = "support", at: float = NOON, **metadata: str) -> TuningJob:
    return job_of(BODY, asked_of(BODY), metadata, Owner(team), ("here", "main"), at)


async def added(store: TuningJobs, job: TuningJob) -> TuningJob:
    await store.add(job, first_events(job))
    return job


async def claimed(store: TuningJobs, now: float = NOON + 1) -> TuningJob:
    (job,) = await store.claim(now, 60, 10)
    return job


async def test_who_lost_a_job_writes_nothing_of_it(database: Database) -> None:
    store = TuningJobs(database)
    job = await added(store, made())
    mine = await claimed(store)
    assert await store.claim(NOON + 2, 60, 10) == []
    other = await claimed(store, NOON + 100)
    happened = [JobEvent(job.id, 2, NOON, "info", "told by who lost it")]
    with pytest.raises(Lost):
        await store.step(mine, {"state": "running"}, happened, [Saved(0, NOON, 1, "ft:x")])
    page = await store.events(job, 10, None)
    assert [event.number for event in page.items] == [1, 0]
    assert (await store.checkpoints(job, 10, None)).items == ()
    running = await store.step(other, {"state": "running", "seen": 1}, happened, [Saved(0, NOON, 1, "ft:x")])
    assert (running.state, running.events, running.seen) == ("running", 3, 1)


async def test_what_is_asked_for_during_a_step_is_neither_lost_nor_late(database: Database) -> None:
    store = TuningJobs(database)
    job = await added(store, made())
    mine = await claimed(store)
    assert await store.want(job, "pause", NOON + 1)
    after = await store.step(mine, {"due_at": NOON + 1_000, "held_until": None})
    assert (after.wanted, after.due_at) == ("pause", 0.0)
    again = await claimed(store, NOON + 2)
    assert await store.want(job, "cancel", NOON + 2)
    assert (await store.step(again, {"wanted": ""})).wanted == "cancel"
    ended = await store.step(again, {"wanted": "", "due_at": None, "state": "cancelled"})
    assert (ended.wanted, ended.due_at) == ("", None)
    assert not await store.want(job, "pause", NOON + 3)


async def test_pages_are_exact_also_of_those_with_some_metadata(database: Database) -> None:
    store = TuningJobs(database)
    jobs = [await added(store, made(at=NOON + number, kind="odd" if number % 2 else "even")) for number in range(7)]
    await added(store, made(team="other"))
    plain = await added(store, made(at=NOON + 50))
    first = await store.page("support", PageAsked(3))
    assert ([job.id for job in first.items], first.has_more) == ([plain.id, jobs[6].id, jobs[5].id], True)
    odd = await store.page("support", PageAsked(2), {"kind": "odd"})
    assert ([job.id for job in odd.items], odd.has_more) == ([jobs[5].id, jobs[3].id], True)
    rest = await store.page("support", PageAsked(2, after=jobs[3].id), {"kind": "odd"})
    assert ([job.id for job in rest.items], rest.has_more) == ([jobs[1].id], False)
    none = await store.page("support", PageAsked(5), without=True)
    assert ([job.id for job in none.items], none.has_more) == ([plain.id], False)


async def test_events_page_by_their_number(database: Database) -> None:
    store = TuningJobs(database)
    job = await added(store, made())
    mine = await claimed(store)
    await store.step(mine, {}, [JobEvent(job.id, number, NOON, "info", str(number)) for number in range(2, 12)])
    first = await store.events(job, 5, None)
    assert ([event.number for event in first.items], first.has_more) == ([11, 10, 9, 8, 7], True)
    last = await store.events(job, 7, number_of(f"ftevent-{job.id[6:]}-000007", f"ftevent-{job.id[6:]}-"))
    assert ([event.number for event in last.items], last.has_more) == ([6, 5, 4, 3, 2, 1, 0], False)
    with pytest.raises(InvalidRequest):
        number_of("ftevent-other-000007", f"ftevent-{job.id[6:]}-")


async def test_a_model_is_its_teams_those_it_lets_and_once_deleted_nobodys(database: Database) -> None:
    store, models = TuningJobs(database), TunedModels(database)
    model = Model("ft:base:support::1", "support", "main", "base", "ftjob-1", NOON)
    await store.made([model])
    await store.made([msgspec.structs.replace(model, team="thieves")])
    (permission,) = await models.permit(model.id, ["friends", "friends"], NOON)
    assert [one.id for one in await models.permit(model.id, ["friends"], NOON + 1)] == [permission.id]
    (allowed,) = await models.allowed()
    assert (allowed.upstream, allowed.teams) == ("main", ("friends", "support"))
    assert await models.forbid(model.id, permission.id)
    assert not await models.forbid(model.id, permission.id)
    await models.delete(model.id, NOON + 2)
    assert await models.find(model.id) is None
    assert [one.teams for one in await models.allowed()] == [(NOBODY,)]
