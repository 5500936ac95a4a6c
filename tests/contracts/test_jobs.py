"""Jobs in both databases: one process's at a time, and the same rows whoever books them, however often."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from msgspec.structs import replace
from sqlalchemy import text

from gateway.core.clock import Clock
from gateway.db.engine import Database
from gateway.ledger.jobs.store import Job, JobStore
from gateway.ledger.jobs.watch import MOST_SECONDS, JobWatch
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import LedgerStore
from gateway.policy.models_file import UpstreamEntry
from gateway.upstream.transport import Http1Transport
from gateway.upstream.upstreams import Upstreams
from tests.fakes.books import Books
from tests.fakes.calls import NOON
from tests.fakes.offline_server import OfflineServer, offline_server

JOB = Job("ftjob-1", "training", "main", "support", "key_1", "", "gpt-4o-mini-2024-07-18", NOON, due_at=NOON)
LINE = b'{"messages":[]}\n'


@pytest.fixture
def provider() -> Iterator[OfflineServer]:
    with offline_server(tuning_seconds=0.01) as server:
        yield server


async def test_a_due_job_is_one_claimers_until_it_lets_go(database: Database) -> None:
    store = JobStore(database)
    await store.remember([JOB, replace(JOB, id="ftjob-2", due_at=NOON + 60)])
    await store.remember([replace(JOB, team="other")])
    (mine,) = await store.claim(NOON + 1, 300, 10)
    assert (mine.id, mine.team, mine.tries) == ("ftjob-1", "support", 1)
    await store.hurry(["ftjob-1", "ftjob-2", "unknown"], NOON + 2)
    assert [job.id for job in await store.claim(NOON + 2, 300, 10)] == ["ftjob-2"]
    await store.later(mine, NOON + 10)
    assert await store.claim(NOON + 9, 300, 10) == []
    (again,) = await store.claim(NOON + 10, 300, 10)
    assert again.tries == 2
    await store.booked(again)
    await store.hurry(["ftjob-1"], NOON + 11)
    await store.later(again, NOON + 11)
    assert [job.id for job in await store.waiting()] == ["ftjob-2"]
    assert [job.id for job in await store.claim(NOON + 1_000, 300, 10)] == ["ftjob-2"]


async def test_the_first_end_that_is_told_stays(database: Database) -> None:
    """It is part of the row's key: a later one would make a second row."""
    store = JobStore(database)
    await store.remember([JOB])
    assert await store.ended(JOB, NOON + 5) == NOON + 5
    assert await store.ended(JOB, NOON + 9) == NOON + 5


async def start(provider: OfflineServer) -> str:
    """A job that has ended."""
    async with httpx2.AsyncClient(base_url=provider.base_url, headers={"authorization": "Bearer k"}) as client:
        form = {"file": ("t.jsonl", LINE * 20)}
        file = (await client.post("/files", files=form, data={"purpose": "fine-tune"})).json()["id"]
        body = {"model": JOB.model, "training_file": file}
        job = str((await client.post("/fine_tuning/jobs", json=body)).json()["id"])
        for _ in range(1_000):
            if (await client.get(f"/fine_tuning/jobs/{job}")).json()["status"] == "succeeded":
                return job
            await asyncio.sleep(0.01)
        raise AssertionError("the provider's job did not end")


async def test_a_watcher_killed_between_journal_and_database_leaves_one_row(
    database: Database, tmp_path: Path, provider: OfflineServer
) -> None:
    """It had booked and could not say so: another books the same rows again, and they are the same rows."""
    job = replace(JOB, id=await start(provider))
    store = JobStore(database)
    await store.remember([job])
    transport = Http1Transport()
    upstreams = Upstreams({"http1": transport}, {"K": "k"}, Clock())
    entry = UpstreamEntry.model_validate({"base_url": provider.base_url, "api_key": "env:K"})
    upstreams.replace(upstreams.build({"main": entry}))
    for name in ("first", "second"):
        books = Books(tmp_path / name)
        books.hands.turn(10)
        await JobWatch(books.ledger, store, upstreams, tmp_path / "jobs").look()
        assert [event.id for event in books.observed] == [job.id]
        shipper = Shipper(books.ledger, LedgerStore(database), books.observed.append)
        await shipper.ship_all()
        books.journal.close()
        async with database.session() as session:
            await session.execute(text("UPDATE watched_jobs SET due_at = :now, held_until = NULL"), {"now": NOON})
    await transport.close()
    async with database.session() as session:
        assert (await session.execute(text("SELECT id, endpoint FROM usage_events"))).all() == [(job.id, "training")]
        assert (await session.execute(text("SELECT sum(attempts) FROM usage_rollups"))).scalar_one() == 1


async def test_a_job_that_nobody_can_tell_of_is_given_up_and_still_a_row(
    database: Database, tmp_path: Path, provider: OfflineServer
) -> None:
    """Its upstream is gone from models.yaml: asked for as long as jobs last, then booked as unknown."""
    store = JobStore(database)
    await store.remember([JOB])
    books = Books(tmp_path / "own")
    watch = JobWatch(books.ledger, store, Upstreams({}, {}, Clock()), tmp_path / "jobs")
    books.hands.turn(10)
    await watch.look()
    assert books.observed == []
    books.hands.turn(MOST_SECONDS)
    await watch.look()
    (event,) = books.observed
    assert (event.id, event.usage, event.cost_nano_usd) == ("ftjob-1", None, None)
    assert await store.waiting() == []
    books.journal.close()
