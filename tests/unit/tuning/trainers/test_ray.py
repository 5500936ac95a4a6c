"""Ray's job API as this trainer uses it; the stand-in answers as a Ray 2.60 did, and runs what it is given."""

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import UpstreamFailed
from gateway.tuning.trainers.ray import Cluster, RayTrainer
from gateway.tuning.worker.job import BaseModel
from gateway.upstream.fetch import Fetcher
from tests.fakes.ray_cluster import RayCluster, ray_cluster
from tests.fakes.trainers import EPOCHS, QUESTIONS, TINY_RATE, chats, ended, plan, source, watched

ROOT = Path(__file__).parents[4]


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher()
    yield made
    await made.close()


@pytest.fixture
async def cluster() -> AsyncIterator[tuple[RayCluster, str]]:
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    async with ray_cluster({"PYTHONPATH": path}) as (running, server):
        yield running, f"http://127.0.0.1:{server.origin.port}"


async def test_a_job_is_submitted_once_with_what_it_needs(
    cluster: tuple[RayCluster, str], fetcher: Fetcher, tmp_path: Path
) -> None:
    running, address = cluster
    # A worker that goes on: one that has ended would rightly be submitted again.
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 30\n")
    python.chmod(0o755)
    settings = Cluster(f"{address}/", seen_as="/shared/jobs", python=str(python), gpus=1, cpus=4, token="a-token")
    for _ in range(2):
        trainer = RayTrainer(settings, tmp_path, {"tiny": BaseModel("models/tiny")}, fetcher)
        assert await trainer.start(plan("ftjob-1"), source(chats()), None) == "ftjob-1"
    [asked] = running.submitted
    assert asked["submission_id"] == "ftjob-1"
    assert asked["entrypoint"] == f"{python} -m gateway.tuning.worker train --job /shared/jobs/ftjob-1"
    assert (asked["entrypoint_num_gpus"], asked["entrypoint_num_cpus"]) == (1, 4)
    assert all(b"authorization: bearer a-token" in head.lower() for head in running.headers)
    assert (tmp_path / "ftjob-1" / "training.jsonl").read_bytes() == chats()


async def test_a_cluster_that_is_away_loses_no_job(
    cluster: tuple[RayCluster, str], fetcher: Fetcher, tmp_path: Path, tiny_model: Path
) -> None:
    running, address = cluster
    models = {"tiny": BaseModel(str(tiny_model), learning_rate=TINY_RATE)}
    trainer = RayTrainer(Cluster(address, python=sys.executable), tmp_path, models, fetcher)
    running.is_away = True
    with pytest.raises(UpstreamFailed) as away:
        await trainer.start(plan("ftjob-1"), source(chats()), None)
    assert "503" in away.value.message
    with pytest.raises(UpstreamFailed):
        await trainer.watch("ftjob-1", 0)
    running.is_away = False
    reference = await trainer.start(plan("ftjob-1"), source(chats()), None)

    # A machine of the cluster is lost in the middle of the job.
    await watched(trainer, reference, lambda progress: sum(e.kind == "metrics" for e in progress.events) > 8)
    running.kill("ftjob-1")
    done = await ended(trainer, reference)

    assert done.status == "succeeded"
    assert [asked["submission_id"] for asked in running.submitted] == ["ftjob-1", "ftjob-1-2"]
    steps = [int(dict(event.data)["step"]) for event in done.events if event.kind == "metrics"]
    assert steps == list(range(1, EPOCHS * len(QUESTIONS) + 1))


async def test_workers_that_always_die_fail_the_job(
    cluster: tuple[RayCluster, str], fetcher: Fetcher, tmp_path: Path
) -> None:
    running, address = cluster
    trainer = RayTrainer(Cluster(address, python="false"), tmp_path, {"tiny": BaseModel("models/tiny")}, fetcher)
    done = await ended(trainer, await trainer.start(plan("ftjob-1"), source(chats()), None))
    assert done.status == "failed"
    assert done.error is not None
    assert done.error[0] == "worker_failed"
    assert [asked["submission_id"] for asked in running.submitted] == ["ftjob-1", "ftjob-1-2", "ftjob-1-3"]


async def test_a_job_that_waits_for_a_machine_is_cancelled_at_once(
    cluster: tuple[RayCluster, str], fetcher: Fetcher, tmp_path: Path
) -> None:
    running, address = cluster
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 600\n")
    sleeper.chmod(0o755)
    trainer = RayTrainer(
        Cluster(address, python=str(sleeper)), tmp_path / "jobs", {"tiny": BaseModel("models/tiny")}, fetcher
    )
    reference = await trainer.start(plan("ftjob-1"), source(chats()), None)
    assert (await trainer.watch(reference, 0)).status == "queued"
    await trainer.cancel(reference)
    assert (await ended(trainer, reference)).status == "cancelled"
    assert running.status("ftjob-1") == "STOPPED"
