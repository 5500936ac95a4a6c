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
from openai import AsyncOpenAI

from gateway.core.clock import Clock
from gateway.core.discovery import members
from gateway.core.errors import NotFound, UpstreamFailed
from gateway.policy.models_file import UpstreamEntry
from gateway.policy.tuning_file import HostedTrainerEntry
from gateway.tuning import trainers
from gateway.tuning.contract import Source, Trainer, TrainerRefused
from gateway.tuning.publishing import Asks
from gateway.tuning.trainers.local import LocalTrainer
from gateway.tuning.trainers.openai_api import OpenaiApi
from gateway.tuning.trainers.ray import Cluster, RayTrainer
from gateway.tuning.worker.job import BaseModel
from gateway.upstream.fetch import Fetcher
from gateway.upstream.transport import Http1Transport
from gateway.upstream.upstreams import Upstream, Upstreams
from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.ray_cluster import ray_cluster
from tests.fakes.trainers import EPOCHS, QUESTIONS, TINY_RATE, chats, ended, plan, source, watched

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A trainer under test. model: one it can train. anew: makes a trainer that knows nothing but what is kept.

    is_hosted: a provider checks plans and files, in its own words.
    """

    trainer: Trainer
    anew: Callable[[], Trainer]
    model: str = "tiny"
    can_pause: bool = True
    is_hosted: bool = False


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


class OfflineMeans:
    """Hands files to an offline upstream."""

    def __init__(self, server: OfflineServer, transport: Http1Transport, folder: Path) -> None:
        self.folder = folder
        self.policies = folder
        self.environment: dict[str, str] = {}
        self._server = server
        upstreams = Upstreams({"http1": transport}, {"KEY": "none"}, Clock())
        entry = UpstreamEntry.model_validate({"base_url": server.base_url, "api_key": "env:KEY"})
        self._upstream = upstreams.build({"offline": entry})["offline"]

    @property
    def asks(self) -> Asks:
        raise NotImplementedError("a provider is asked as the upstream that it is")

    def upstream(self, name: str) -> Upstream:
        assert name == "offline"
        return self._upstream

    async def copied(self, upstream: str, source: Source, purpose: str) -> str:
        content = b"".join([part async for part in source.read()])
        async with AsyncOpenAI(base_url=self._server.base_url, api_key="none") as client:
            made = await client.files.create(file=(source.file.filename, content), purpose="fine-tune")
        assert (upstream, purpose) == ("offline", "fine-tune")
        return made.id


@contextlib.asynccontextmanager
async def openai_api_place(folder: Path, _: Path) -> AsyncIterator[Place]:
    transport = Http1Transport()
    with offline_server(tuning_seconds=2) as server:
        means = OfflineMeans(server, transport, folder)

        def anew() -> Trainer:
            return OpenaiApi(HostedTrainerEntry(upstream="offline"), means)

        yield Place(anew(), anew, "gpt-4o-mini-2024-07-18", is_hosted=True)
        await transport.close()


Made = Callable[[Path, Path], AbstractAsyncContextManager[Place]]
PLACES: dict[str, Made] = {"local": local_place, "openai_api": openai_api_place, "ray": ray_place}
NEWLINE = b"\n"
# As many as a provider wants at least.
ROWS = chats(*(list(QUESTIONS.items()) * 4))
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
    reference = await trainer.start(asked, source(ROWS), source(ROWS, "validation.jsonl"))
    # A crash between starting and noting the reference: the engine starts it again, with a trainer that knows nothing.
    assert await place.anew().start(asked, source(ROWS), source(ROWS, "validation.jsonl")) == reference

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
    assert len({saved.model for saved in done.checkpoints}) == len(done.checkpoints) > 0
    for name in done.results:
        rows = list(csv.DictReader(io.StringIO((await trainer.result(reference, name)).decode())))
        assert [float(row["step"]) for row in rows] == steps
    with pytest.raises(UpstreamFailed if place.is_hosted else NotFound):
        await trainer.result(reference, "nothing.csv")
    await trainer.cancel(reference)
    assert (await trainer.watch(reference, 0)).status == "succeeded"


async def test_a_file_that_cannot_be_trained_on_fails_the_job_with_its_reason(place: Place) -> None:
    bad = ROWS + b'{"messages": [{"role": "user", "content": "cut o'
    reference = await place.trainer.start(plan("ftjob-bad", place.model), source(bad), None)
    done = await ended(place.trainer, reference)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error[2] == "training_file"
    assert f"Line {ROWS.count(NEWLINE) + 1}" in done.error[1]
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
    assert done.finished_at or place.is_hosted


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
    numbers = [dict(event.data) for event in done.events if event.kind == "metrics"]
    assert [int(one["step"]) for one in numbers] == list(range(1, int(numbers[0]["total_steps"]) + 1))


async def test_what_cannot_be_trained_is_told_with_all_its_faults(place: Place) -> None:
    if place.is_hosted:
        assert place.trainer.faults(plan("ftjob-rl", "another-model", method="reinforcement")) == []
        return
    asked = plan("ftjob-no", "another-model", hyperparameters=(("n_epochs", 0.5), ("batch_size", 10_000)))
    faults = place.trainer.faults(asked)
    assert len(faults) == 3
    assert any("another-model" in fault for fault in faults)
    with pytest.raises(TrainerRefused):
        await place.trainer.start(asked, source(chats()), None)
    assert place.trainer.faults(plan("ftjob-rl", place.model, method="reinforcement", hyperparameters=()))
