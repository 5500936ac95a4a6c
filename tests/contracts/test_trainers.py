"""What every trainer promises. A new one joins by one entry in PLACES: what it needs to train for real."""

import contextlib
import csv
import io
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.discovery import members
from gateway.core.errors import NotFound
from gateway.tuning import trainers
from gateway.tuning.contract import Trainer, TrainerRefused
from gateway.tuning.trainers.local import LocalTrainer
from gateway.tuning.trainers.ray import Cluster, RayTrainer
from gateway.tuning.worker.job import BaseModel
from gateway.upstream.fetch import Fetcher
from tests.fakes.ray_cluster import ray_cluster
from tests.fakes.trainers import EPOCHS, QUESTIONS, TINY_RATE, chats, ended, plan, source, watched

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A trainer under test. model: one it can train. Makes anew: a trainer that knows nothing but what is kept."""

    trainer: Trainer
    anew: Callable[[], Trainer]
    model: str = "tiny"
    can_pause: bool = True


@contextlib.asynccontextmanager
async def local_place(folder: Path, tiny: Path) -> AsyncIterator[Place]:
    def anew() -> Trainer:
        return LocalTrainer(folder, {"tiny": BaseModel(str(tiny), learning_rate=TINY_RATE)})

    yield Place(anew(), anew)


@contextlib.asynccontextmanager
async def ray_place(folder: Path, tiny: Path) -> AsyncIterator[Place]:
    path = ":".join([str(ROOT), *(entry for entry in sys.path if entry)])
    async with ray_cluster({"PYTHONPATH": path}) as (_, server):
        fetcher = Fetcher()
        cluster = Cluster(f"http://127.0.0.1:{server.origin.port}", python=sys.executable)

        def anew() -> Trainer:
            return RayTrainer(cluster, folder, {"tiny": BaseModel(str(tiny), learning_rate=TINY_RATE)}, fetcher)

        yield Place(anew(), anew)
        await fetcher.close()


Made = Callable[[Path, Path], AbstractAsyncContextManager[Place]]
PLACES: dict[str, Made] = {"local": local_place, "ray": ray_place}
NEEDS_TORCH = frozenset({"local", "ray"})


@pytest.fixture(params=sorted(PLACES))
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    tiny = tmp_path
    if request.param in NEEDS_TORCH:
        tiny = request.getfixturevalue("tiny_model")
    async with PLACES[request.param](tmp_path / "jobs", tiny) as found:
        yield found


def test_every_trainer_keeps_the_contract() -> None:
    """One file under trainers/ is one entry here."""
    assert members(trainers, "TRAINER").keys() == PLACES.keys()


async def test_a_job_is_trained_and_told_of_from_beginning_to_end(place: Place) -> None:
    trainer = place.trainer
    asked = plan("ftjob-one", place.model)
    assert trainer.faults(asked) == []
    reference = await trainer.start(asked, source(chats()), source(chats(), "validation.jsonl"))
    # A crash between starting and noting the reference: the engine starts it again, with a trainer that knows nothing.
    assert await place.anew().start(asked, source(chats()), source(chats(), "validation.jsonl")) == reference

    done = await ended(place.anew(), reference)

    assert done.status == "succeeded", done
    assert [event.number for event in done.events] == list(range(len(done.events)))
    assert (await trainer.watch(reference, 3)).events == done.events[3:]
    assert done.tuned_model
    assert done.trained_tokens
    assert done.finished_at
    assert done.error is None
    assert dict(done.hyperparameters)["n_epochs"] == EPOCHS
    steps = [dict(event.data)["step"] for event in done.events if event.kind == "metrics"]
    assert steps == sorted(set(steps))
    assert steps
    assert {"train_loss", "total_steps"} <= dict(next(e.data for e in done.events if e.kind == "metrics")).keys()
    assert [saved.number for saved in done.checkpoints] == sorted({saved.number for saved in done.checkpoints})
    assert all(saved.model != done.tuned_model for saved in done.checkpoints)
    for name in done.results:
        rows = list(csv.DictReader(io.StringIO((await trainer.result(reference, name)).decode())))
        assert [float(row["step"]) for row in rows] == steps
    with pytest.raises(NotFound):
        await trainer.result(reference, "nothing.csv")
    await trainer.cancel(reference)
    assert (await trainer.watch(reference, 0)).status == "succeeded"


async def test_a_file_that_cannot_be_trained_on_fails_the_job_with_its_reason(place: Place) -> None:
    bad = chats() + b'{"messages": [{"role": "user", "content": "cut o'
    reference = await place.trainer.start(plan("ftjob-bad", place.model), source(bad), None)
    done = await ended(place.trainer, reference)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error[2] == "training_file"
    assert f"Line {len(QUESTIONS) + 1}" in done.error[1]
    assert done.tuned_model is None
    assert done.trained_tokens is None


async def test_a_cancelled_job_ends_cancelled(place: Place) -> None:
    asked = plan("ftjob-cancelled", place.model, hyperparameters=(("n_epochs", 50), ("batch_size", 1)))
    reference = await place.trainer.start(asked, source(chats(*(list(QUESTIONS.items()) * 40))), None)
    await watched(place.trainer, reference, lambda progress: any(e.kind == "metrics" for e in progress.events))
    await place.trainer.cancel(reference)
    await place.trainer.cancel(reference)
    done = await ended(place.anew(), reference)
    assert done.status == "cancelled"
    assert done.tuned_model is None
    assert done.finished_at


async def test_a_paused_job_goes_on_where_it_was(place: Place) -> None:
    if not place.can_pause:
        pytest.skip("this trainer says that it cannot pause")
    asked = plan("ftjob-paused", place.model, hyperparameters=(("n_epochs", 10), ("batch_size", 1)))
    rows = list(QUESTIONS.items()) * 10
    reference = await place.trainer.start(asked, source(chats(*rows)), None)
    await watched(place.trainer, reference, lambda progress: any(e.kind == "metrics" for e in progress.events))
    await place.trainer.pause(reference)
    waits = await watched(place.trainer, reference, lambda progress: progress.status == "paused")
    assert (await place.anew().watch(reference, 0)).status == "paused"
    await place.trainer.resume(reference)
    done = await ended(place.trainer, reference)
    assert done.status == "succeeded"
    assert done.events[: len(waits.events)] == waits.events
    steps = [int(dict(event.data)["step"]) for event in done.events if event.kind == "metrics"]
    assert steps == list(range(1, 301))


async def test_what_cannot_be_trained_is_told_with_all_its_faults(place: Place) -> None:
    asked = plan("ftjob-no", "another-model", hyperparameters=(("n_epochs", 0.5), ("batch_size", 10_000)))
    faults = place.trainer.faults(asked)
    assert len(faults) == 3
    assert any("another-model" in fault for fault in faults)
    with pytest.raises(TrainerRefused):
        await place.trainer.start(asked, source(chats()), None)
    assert place.trainer.faults(plan("ftjob-rl", place.model, method="reinforcement", hyperparameters=()))
