"""What every trainer promises. A new one joins by one entry in PLACES: what it needs to train for real."""

import contextlib
import csv
import io
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gateway.core.discovery import members
from gateway.core.errors import NotFound, NotSupported, UpstreamFailed
from gateway.policy.tuning_file import HostedTrainerEntry
from gateway.tuning import trainers
from gateway.tuning.contract import Progress, Trainer, TrainerRefused
from gateway.tuning.trainers.local import LocalTrainer
from gateway.tuning.trainers.ray import Cluster, RayTrainer
from gateway.tuning.worker.job import BaseModel
from gateway.upstream.fetch import Fetcher
from tests.fakes.api_server import Answer, ApiServer, Asked, in_json
from tests.fakes.hosted_trainers import NO_MODEL, Answering, azure, fireworks, hosted, openai, together
from tests.fakes.ray_cluster import ray_cluster
from tests.fakes.trainers import EPOCHS, QUESTIONS, TINY_RATE, chats, ended, plan, source, watched

ROOT = Path(__file__).parents[2]
HAS_TORCH = find_spec("torch") is not None and find_spec("peft") is not None


@dataclass(frozen=True)
class Place:
    """A trainer under test. model: one it can train. Makes anew: a trainer that knows nothing but what is kept.

    content: what it can be trained on. What providers do not tell: has_metrics, tells_tokens. judges_plans: it knows
    what it can train before anybody is asked. server: where a provider is, with all that it was asked.
    """

    trainer: Trainer
    anew: Callable[[], Trainer]
    model: str = "tiny"
    can_pause: bool = True
    content: bytes = chats()
    has_metrics: bool = True
    tells_tokens: bool = True
    judges_plans: bool = True
    server: ApiServer | None = None


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


def hosted_place(kind: str, answer: Callable[[], Answering], prefix: str, **told: Any) -> "Made":
    """A trainer at a provider, whose API is spoken by a scripted server."""

    @contextlib.asynccontextmanager
    async def opened(_folder: Path, _tiny: Path) -> AsyncIterator[Place]:
        entry = HostedTrainerEntry.model_validate({"kind": kind, "upstream": "there", "account": "acme"})
        async with hosted(answer(), prefix) as (server, means):

            def anew() -> Trainer:
                made: Trainer = KINDS[kind](entry, means)
                return made

            rows = chats(*(list(QUESTIONS.items()) * 4))
            given = {"model": "gpt-4o-mini", "content": rows, "judges_plans": False, "server": server, **told}
            yield Place(anew(), anew, **given)

    return opened


Made = Callable[[Path, Path], AbstractAsyncContextManager[Place]]
# Neither tells losses nor tokens, and neither can be paused on request.
QUIET = {"can_pause": False, "has_metrics": False, "tells_tokens": False, "model": "llama"}
PLACES: dict[str, Made] = {
    "local": local_place,
    "ray": ray_place,
    "openai_api": hosted_place("openai_api", openai, "/v1"),
    "azure": hosted_place("azure", azure, "/openai/v1"),
    "together": hosted_place("together", together, "/v1", **QUIET),
    "fireworks": hosted_place("fireworks", fireworks, "/v1", **QUIET),
}
HOSTED = sorted(PLACES.keys() - {"local", "ray"})
# What jobs are made and listed at.
NAMES = frozenset({"jobs", "fine-tunes", "supervisedFineTuningJobs"})
KINDS: dict[str, Any] = members(trainers, "TRAINER")
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


@pytest.fixture(params=HOSTED)
async def provider(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with PLACES[request.param](tmp_path, tmp_path) as found:
        yield found


def test_every_trainer_keeps_the_contract() -> None:
    """One file under trainers/ is one entry here."""
    assert members(trainers, "TRAINER").keys() == PLACES.keys()


async def test_a_job_is_trained_and_told_of_from_beginning_to_end(place: Place) -> None:
    trainer = place.trainer
    asked = plan("ftjob-one", place.model)
    assert trainer.faults(asked) == []
    files = source(place.content), source(place.content, "validation.jsonl")
    other = await trainer.start(plan("ftjob-other", place.model), *files)
    reference = await trainer.start(asked, *files)
    assert reference != other
    # A crash between starting and noting the reference: the engine starts it again, with a trainer that knows nothing.
    assert await place.anew().start(asked, *files) == reference

    done = await ended(place.anew(), reference)

    assert done.status == "succeeded", done
    assert [event.number for event in done.events] == list(range(len(done.events)))
    assert (await trainer.watch(reference, 3)).events == done.events[3:]
    assert done.tuned_model
    assert bool(done.trained_tokens) is place.tells_tokens
    assert done.trained_tokens != 0
    assert done.finished_at
    assert done.error is None
    assert dict(done.hyperparameters)["n_epochs"] == EPOCHS
    steps = [dict(event.data)["step"] for event in done.events if event.kind == "metrics"]
    assert steps == sorted(set(steps))
    assert bool(steps) is place.has_metrics
    for event in done.events:
        assert event.kind == "message" or {"train_loss", "total_steps"} <= dict(event.data).keys()
    assert [saved.number for saved in done.checkpoints] == sorted({saved.number for saved in done.checkpoints})
    # OpenAI's last checkpoint is the model itself.
    assert sum(saved.model == done.tuned_model for saved in done.checkpoints) <= 1
    for name in done.results:
        rows = list(csv.DictReader(io.StringIO((await trainer.result(reference, name)).decode())))
        assert [float(row["step"]) for row in rows] == steps
    with pytest.raises(NotFound):
        await trainer.result(reference, "nothing.csv")
    await trainer.cancel(reference)
    assert (await trainer.watch(reference, 0)).status == "succeeded"


async def test_a_file_that_cannot_be_trained_on_fails_the_job_with_its_reason(place: Place) -> None:
    bad = place.content + b'{"messages": [{"role": "user", "content": "cut o'
    reference = await place.trainer.start(plan("ftjob-bad", place.model), source(bad), None)
    done = await ended(place.trainer, reference)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error[2] == ("training_file" if place.has_metrics else None)
    assert f"Line {len(place.content.splitlines()) + 1}" in done.error[1]
    assert done.tuned_model is None
    assert done.trained_tokens is None


async def test_a_cancelled_job_ends_cancelled(place: Place) -> None:
    asked = plan("ftjob-cancelled", place.model, hyperparameters=(("n_epochs", 50), ("batch_size", 1)))
    reference = await place.trainer.start(asked, source(chats(*(list(QUESTIONS.items()) * 40))), None)
    before = await watched(place.trainer, reference, place_runs(place))
    await place.trainer.cancel(reference)
    await place.trainer.cancel(reference)
    done = await ended(place.anew(), reference)
    assert done.status == "cancelled"
    # When an event was not told of by its provider, its time is when it was seen: the first to see it is kept.
    said = [(event.number, event.message) for event in before.events]
    assert [(event.number, event.message) for event in done.events][: len(said)] == said
    assert done.tuned_model is None
    assert done.finished_at


async def test_a_paused_job_goes_on_where_it_was(place: Place) -> None:
    if not place.can_pause:
        reference = await place.trainer.start(plan("ftjob-unpaused", place.model), source(place.content), None)
        with pytest.raises(NotSupported):
            await place.trainer.pause(reference)
        return
    asked = plan("ftjob-paused", place.model, hyperparameters=(("n_epochs", 10), ("batch_size", 1)))
    rows = list(QUESTIONS.items()) * 10
    reference = await place.trainer.start(asked, source(chats(*rows)), None)
    await watched(place.trainer, reference, place_runs(place))
    await place.trainer.pause(reference)
    waits = await watched(place.trainer, reference, lambda progress: progress.status == "paused")
    assert (await place.anew().watch(reference, 0)).status == "paused"
    await place.trainer.resume(reference)
    done = await ended(place.trainer, reference)
    assert done.status == "succeeded"
    assert done.events[: len(waits.events)] == waits.events
    steps = [int(dict(event.data)["step"]) for event in done.events if event.kind == "metrics"]
    totals = {dict(event.data)["total_steps"] for event in done.events if event.kind == "metrics"}
    assert steps == list(range(1, int(totals.pop()) + 1))
    assert not totals


async def test_what_cannot_be_trained_is_told_with_all_its_faults(place: Place) -> None:
    if not place.judges_plans:
        with pytest.raises(TrainerRefused, match="model"):
            await place.trainer.start(plan("ftjob-no", NO_MODEL), source(place.content), None)
        return
    asked = plan("ftjob-no", "another-model", hyperparameters=(("n_epochs", 0.5), ("batch_size", 10_000)))
    faults = place.trainer.faults(asked)
    assert len(faults) == 3
    assert any("another-model" in fault for fault in faults)
    with pytest.raises(TrainerRefused):
        await place.trainer.start(asked, source(chats()), None)
    assert place.trainer.faults(plan("ftjob-rl", place.model, method="reinforcement", hyperparameters=()))


async def test_a_provider_that_is_away_is_asked_again_and_begins_a_job_once(provider: Place) -> None:
    """Outages are no refusals; nor is a key that it does not take, or haste."""
    server = provider.server
    assert server is not None
    asked = plan("ftjob-away", provider.model)
    for status in (500, 503, 401, 403, 429):
        server.first.append(in_json({"error": {"message": "later"}}, status))
        with pytest.raises(UpstreamFailed):
            await provider.trainer.start(asked, source(provider.content), None)
    reference = await provider.trainer.start(asked, source(provider.content), None)
    server.first.append(Answer(b"<html>", 200))
    with pytest.raises(UpstreamFailed):
        await provider.trainer.watch(reference, 0)
    assert await provider.anew().start(asked, source(provider.content), None) == reference
    assert [one.path.rpartition("/")[2] in NAMES for one in server.asked if one.method == "POST"].count(True) == 1


async def test_a_job_that_a_provider_does_not_know_is_told_so_in_its_words(provider: Place) -> None:
    for asked in (provider.trainer.watch("ft-unheard-of", 0), provider.trainer.cancel("ft-unheard-of")):
        with pytest.raises(TrainerRefused, match=r"404.*(?i:not find|not found)") as refused:
            await asked
        assert refused.value.is_unknown


async def test_a_provider_without_the_route_for_jobs_refuses_a_job(provider: Place) -> None:
    server = provider.server
    assert server is not None
    server.answer = lambda _asked: in_json({"error": {"message": "Unknown path."}}, 404)
    with pytest.raises(TrainerRefused, match=r"404.*Unknown path"):
        await provider.trainer.start(plan("ftjob-nowhere", provider.model), source(provider.content), None)


async def test_a_job_that_was_made_without_an_id_is_looked_for_and_never_made_twice(provider: Place) -> None:
    server = provider.server
    assert server is not None
    api, hides = server.answer, False

    def forgetful(asked: Asked) -> Answer:
        found = api(asked)
        if asked.path.rpartition("/")[2] not in NAMES:
            return found
        if asked.method == "POST":
            return in_json({})
        return in_json({"data": []}) if hides else found

    server.answer = forgetful
    files = source(provider.content), None
    reference = await provider.trainer.start(plan("ftjob-nameless", provider.model), *files)
    assert (await provider.trainer.watch(reference, 0)).status == "queued"
    hides = True
    with pytest.raises(TrainerRefused, match="no id"):
        await provider.trainer.start(plan("ftjob-hidden", provider.model), *files)


async def test_a_state_that_nobody_knows_is_not_guessed(provider: Place) -> None:
    reference = await provider.trainer.start(plan("ftjob-odd", provider.model), source(provider.content), None)
    assert provider.server is not None
    odd = {"id": reference, "name": f"x/{reference}", "status": "levitating", "state": "JOB_STATE_LEVITATING"}
    if type(provider.trainer).__name__ == "Fireworks":
        odd["status"] = {"message": ""}  # type: ignore[assignment]  # another API, another shape
    provider.server.first.append(in_json(odd))
    with pytest.raises(UpstreamFailed, match=r"(?i)levitating"):
        await provider.trainer.watch(reference, 0)


@pytest.mark.parametrize("kind", ["together", "fireworks"])
def test_a_multiplier_is_not_sent_as_a_rate(kind: str) -> None:
    """All that cannot be honoured is told at once."""
    entry = HostedTrainerEntry.model_validate({"kind": kind, "upstream": "there", "account": "acme"})
    trainer: Trainer = KINDS[kind](entry, None)
    parameters = (("n_epochs", 3), ("learning_rate_multiplier", 2), ("compute_multiplier", 1))
    integrations = '[{"type":"wandb","wandb":{"project":"p"}}]'
    asked = plan("ftjob-rate", method="reinforcement", hyperparameters=parameters, integrations=integrations)
    faults = trainer.faults(asked)
    assert len(faults) == 4
    assert sum("learning_rate_multiplier" in fault for fault in faults) == 1
    assert trainer.faults(plan("ftjob-plain")) == []


def place_runs(place: Place) -> Callable[[Progress], bool]:
    """Whether a job is under way, as far as the place tells it."""
    if not place.has_metrics:
        return lambda progress: progress.status == "running"
    return lambda progress: any(event.kind == "metrics" for event in progress.events)
