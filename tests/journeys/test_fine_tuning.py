"""Models are tuned through the gateway with the official SDK: the job is the team's, outlives a kill, costs once."""

import asyncio
import base64
import contextlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint
from openai.types.webhooks import FineTuningJobSucceededWebhookEvent
from pydantic import BaseModel

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway, until
from tests.fakes.scripted_server import says, scripted

LINE = b'{"messages":[{"role":"user","content":"Hi %d"},{"role":"assistant","content":"Hello there, number %d"}]}\n'
TRAINING = b"".join(LINE % (number, number) for number in range(20))
MODEL = "gpt-4o-mini-2024-07-18"
NANO_A_TOKEN = 3_000
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
TAKEN = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
ENDED = {"succeeded", "failed", "cancelled"}


@pytest.fixture(scope="module")
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY, tuning_seconds=1.5) as server:
        yield server


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory, provider: OfflineServer) -> Iterator[RunningGateway]:
    """Two workers: each may look after a job, one at a time does."""
    with running_gateway(tmp_path_factory.mktemp("tuning"), provider.base_url, workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def careless(tuning: RunningGateway) -> openai.OpenAI:
    return client_of(tuning, "careless")


def client_of(gateway: RunningGateway, team: str) -> openai.OpenAI:
    """With a key that both workers know by now."""
    made = gateway.client(team)
    time.sleep(1.0)
    return made


def start(client: openai.OpenAI, content: bytes = TRAINING, **settings: Any) -> FineTuningJob:
    file = client.files.create(file=("training.jsonl", content), purpose="fine-tune")
    return client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, **settings)


def ended(client: openai.OpenAI, job: FineTuningJob, seconds: float = 30) -> FineTuningJob:
    def look() -> FineTuningJob | None:
        found = client.fine_tuning.jobs.retrieve(job.id)
        return found if found.status in ENDED else None

    return until(look, seconds, what=f"the end of {job.id}")


def strictly(value: BaseModel) -> None:
    """Raises when a field has another type than the official SDK says."""
    type(value).model_validate_json(value.model_dump_json(exclude_unset=True), strict=True)


def test_a_job_goes_from_file_to_a_model_that_answers(tuning: RunningGateway) -> None:
    client = client_of(tuning, "tuners")
    job = start(client, suffix="tone", seed=7, metadata={"task": "tone"})
    strictly(job)
    assert (job.status, job.seed, job.metadata) == ("validating_files", 7, {"task": "tone"})
    done = ended(client, job)
    strictly(done)
    assert (done.status, done.error, done.hyperparameters.n_epochs) == ("succeeded", None, 3)
    assert done.fine_tuned_model is not None
    assert done.fine_tuned_model.startswith(f"ft:{MODEL}:")
    assert done.trained_tokens is not None
    (row,) = until(lambda: tuning.rows("call_id = ?", job.id), what="the row")
    assert (row["team"], row["endpoint"], row["outcome"], row["input_tokens"]) == (
        "tuners", "training", "ok", done.trained_tokens,
    )  # fmt: skip
    assert row["cost_nano_usd"] == done.trained_tokens * NANO_A_TOKEN
    reply = client.chat.completions.create(model=done.fine_tuned_model, messages=[{"role": "user", "content": "Hi"}])
    assert reply.model == done.fine_tuned_model
    (result,) = done.result_files
    assert client.files.content(result).text.startswith("step,train_loss,")
    assert client.files.retrieve(result).purpose == "fine-tune-results"


def test_events_and_checkpoints_page_to_their_end(tuning: RunningGateway) -> None:
    client = client_of(tuning, "readers")
    job = ended(client, start(client))
    whole = list(client.fine_tuning.jobs.list_events(job.id, limit=100))
    paged = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
    assert [event.id for event in paged] == [event.id for event in whole]
    assert len({event.id for event in whole}) == len(whole)
    assert whole[-1].message == f"Created fine-tuning job: {job.id}"
    steps = [event.data for event in whole if event.type == "metrics"]
    assert [dict(data)["step"] for data in steps] == list(range(30, 0, -1))  # type: ignore[call-overload]  # an object
    points = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert [point.step_number for point in points] == [30, 20, 10]
    values: list[FineTuningJobEvent | FineTuningJobCheckpoint] = [*whole, *points]
    for value in values:
        strictly(value)


def test_a_team_sees_its_own_jobs_and_finds_them_by_metadata(tuning: RunningGateway) -> None:
    client, other = client_of(tuning, "owners"), client_of(tuning, "strangers")
    jobs = [start(client, metadata={"number": str(number), "task": "tone"}) for number in range(3)]
    plain = start(client)
    listed = [job.id for job in client.fine_tuning.jobs.list(limit=2)]
    assert listed == [plain.id, *(job.id for job in reversed(jobs))]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"number": "1"})] == [jobs[1].id]
    assert len(list(client.fine_tuning.jobs.list(metadata={"task": "tone"}, limit=1))) == 3
    assert [job.id for job in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})] == [plain.id]
    assert list(other.fine_tuning.jobs.list()) == []
    for ask in (other.fine_tuning.jobs.retrieve, other.fine_tuning.jobs.cancel, other.fine_tuning.jobs.list_events):
        with pytest.raises(openai.NotFoundError):
            ask(jobs[0].id)
    model = ended(client, plain).fine_tuned_model
    assert model is not None
    until(lambda: model in {one.id for one in client.models.list()} or None, what="the model in the list")
    assert model not in {one.id for one in other.models.list() if one.owned_by != "offline"}
    until(lambda: not can_call(other, model) or None, what="the model to be closed to others")


def test_another_teams_files_and_models_are_out_of_reach_by_whatever_name(
    tuning: RunningGateway, provider: OfflineServer
) -> None:
    """The copies that a provider trains on, and what it wrote, have ids of their own there."""
    client, other = client_of(tuning, "keepers"), client_of(tuning, "reachers")
    job = ended(client, start(client))
    model = str(job.fine_tuned_model)
    with openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY) as direct:
        (there,) = direct.fine_tuning.jobs.list(metadata={"switchyard_job": job.id})
    theirs = [there.training_file, *there.result_files]
    assert len(theirs) == 2
    for file in theirs:
        for ask in (other.files.retrieve, other.files.content, other.files.delete):
            with pytest.raises(openai.NotFoundError):
                ask(file)
    assert not {file.id for file in other.files.list(limit=1)} & set(theirs)
    with pytest.raises(openai.BadRequestError, match="No such File"):
        other.fine_tuning.jobs.create(model=MODEL, training_file=theirs[0])
    own = other.files.create(file=("t.jsonl", TRAINING), purpose="fine-tune")
    with pytest.raises(openai.NotFoundError):
        other.fine_tuning.jobs.create(model=model, training_file=own.id)
    with pytest.raises(openai.NotFoundError):
        other.models.retrieve(model)
    again = client.fine_tuning.jobs.create(model=model, training_file=job.training_file)
    assert ended(client, again).status == "succeeded"


def test_a_job_by_reinforcement_takes_its_grader(tuning: RunningGateway) -> None:
    client = client_of(tuning, "graded")
    grader: Any = {
        "type": "string_check",
        "name": "same",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    }
    rows = b"".join(
        b'{"messages":[{"role":"user","content":"What is %d?"}],"answer":"%d"}\n' % (number, number)
        for number in range(20)
    )
    job = start(client, rows, method={"type": "reinforcement", "reinforcement": {"grader": grader}})
    strictly(job)
    assert job.method is not None
    assert job.method.reinforcement is not None
    assert job.method.reinforcement.grader.name == "same"
    done = ended(client, job)
    assert done.status == "succeeded", done.error


def can_call(caller: openai.OpenAI, model: str) -> bool:
    try:
        caller.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
    except openai.NotFoundError:
        return False
    return True


def test_a_model_is_open_to_others_while_they_are_permitted_and_to_nobody_once_deleted(tuning: RunningGateway) -> None:
    client, other = client_of(tuning, "lenders"), client_of(tuning, "borrowers")
    model = str(ended(client, start(client)).fine_tuned_model)
    until(lambda: not can_call(other, model) or None, what="the model to be closed")
    permissions = client.fine_tuning.checkpoints.permissions
    made = list(permissions.create(model, project_ids=["borrowers", "others"]))
    assert {one.project_id for one in made} == {"borrowers", "others"}
    assert [one.id for one in permissions.list(model, project_id="borrowers")] == [made[0].id]
    until(lambda: can_call(other, model) or None, what="the model to be open")
    assert permissions.delete(made[0].id, fine_tuned_model_checkpoint=model).deleted
    until(lambda: not can_call(other, model) or None, what="the model to be closed again")
    with pytest.raises(openai.NotFoundError):
        other.models.delete(model)
    assert client.models.delete(model).deleted
    until(lambda: not can_call(client, model) or None, what="the model to be gone")


def paused(client: openai.OpenAI) -> FineTuningJob:
    """A job that was paused while it ran; on a busy machine one may have ended before it is asked to."""
    for _ in range(10):
        job = start(client)
        reaches(client, job, "running")
        with contextlib.suppress(openai.BadRequestError):
            client.fine_tuning.jobs.pause(job.id)
        # A paused one is called `queued`.
        if reaches(client, job, "queued"):
            return job
    raise AssertionError("every job had ended before it was paused")


def reaches(client: openai.OpenAI, job: FineTuningJob, status: str) -> bool:
    """Waits for a status, or for the job's end. Whether it was the status."""
    found = until(
        lambda: said if (said := client.fine_tuning.jobs.retrieve(job.id).status) in {status, *ENDED} else None
    )
    return found == status


def test_a_job_is_cancelled_paused_and_resumed(tuning: RunningGateway) -> None:
    client = client_of(tuning, "deciders")
    job = paused(client)
    time.sleep(2.0)
    assert client.fine_tuning.jobs.retrieve(job.id).status == "queued"
    client.fine_tuning.jobs.resume(job.id)
    assert ended(client, job).status == "succeeded"
    with pytest.raises(openai.BadRequestError, match="succeeded"):
        client.fine_tuning.jobs.cancel(job.id)
    other = start(client)
    client.fine_tuning.jobs.cancel(other.id)
    assert ended(client, other).status == "cancelled"


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 51}}}}, "n_epochs"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0}}}}, "beta"),
        ({"method": {"type": "reinforcement"}}, "grader"),
        ({"method": {"type": "poetry"}}, "method.type"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"metadata": {"key": "v" * 513}}, "metadata.key"),
        (
            {
                "hyperparameters": {"n_epochs": 2},
                "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
            },
            "hyperparameters",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_place(
    careless: openai.OpenAI, settings: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        start(careless, **settings)
    assert param in str(caught.value.param)


def test_the_older_form_of_hyperparameters_is_taken(tuning: RunningGateway) -> None:
    client = client_of(tuning, "older")
    job = start(client, hyperparameters={"n_epochs": 2})
    assert job.method is not None
    assert job.method.supervised is not None
    assert job.method.supervised.hyperparameters is not None
    assert job.method.supervised.hyperparameters.n_epochs == 2
    assert ended(client, job).hyperparameters.n_epochs == 2


def test_a_file_that_cannot_be_trained_on_fails_its_job_with_every_fault(tuning: RunningGateway) -> None:
    client = client_of(tuning, "sloppy")
    job = ended(client, start(client, TRAINING + b"{broken\n" + b"[]\n"))
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "invalid_training_file"
    told = [event.message for event in client.fine_tuning.jobs.list_events(job.id) if event.level == "error"]
    assert len(told) >= 2
    assert tuning.rows("call_id = ?", job.id) == []


def test_a_budget_with_no_room_refuses_jobs(tuning: RunningGateway) -> None:
    tuning.team("poor", monthly_budget_usd="0.000001")
    client = client_of(tuning, "poor")
    job = ended(client, start(client))
    if job.status == "failed":
        assert job.error is not None
        assert job.error.code == "insufficient_quota"
        return
    until(lambda: tuning.rows("call_id = ?", job.id), what="the row")
    with pytest.raises(openai.RateLimitError, match="has spent"):
        until(lambda: start(client) and None, 10)


async def test_the_end_of_a_job_is_told_signed_as_the_sdk_verifies(tmp_path: Path, provider: OfflineServer) -> None:
    async with scripted(TAKEN) as receiver:
        url = f"http://127.0.0.1:{receiver.origin.port}/hook"
        files = {
            "tuning.yaml": json.dumps({"webhooks": [{"url": url, "teams": ["told"]}, {"url": url, "teams": ["x"]}]})
        }
        environment = {"GATEWAY_WEBHOOK_SECRET": SECRET}

        def train() -> FineTuningJob:
            with running_gateway(tmp_path, provider.base_url, files=files, environment=environment) as gateway:
                client = gateway.client("told")
                done = ended(client, start(client))
                until(lambda: receiver.visits or None, 15, what="the message")
                return done

        job = await asyncio.to_thread(train)
        (visit,) = receiver.visits
    headers = dict(line.split(": ", 1) for line in visit.head.decode().split("\r\n")[1:] if ": " in line)
    with openai.OpenAI(api_key="none", webhook_secret=SECRET) as client:
        event = client.webhooks.unwrap(visit.body.decode(), headers)
    assert isinstance(event, FineTuningJobSucceededWebhookEvent)
    assert event.data.id == job.id
    forged = "whsec_" + base64.b64encode(b"f" * 32).decode()
    with openai.OpenAI(api_key="none", webhook_secret=forged) as client, pytest.raises(ValueError, match="signature"):
        client.webhooks.unwrap(visit.body.decode(), headers)


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 20))]


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_any_moment_it_loses_no_event_and_books_once(
    tmp_path: Path, provider: OfflineServer, seed: int
) -> None:
    """Twenty of these run as `make soak`."""
    chance = random.Random(seed)
    with running_gateway(tmp_path, provider.base_url) as gateway:
        client = gateway.client("killed")
        job = start(client)
        for _ in range(3):
            time.sleep(chance.random() * 0.7)
            gateway.kill()
            gateway.start()
        done = ended(client, job)
        assert done.status == "succeeded"
        told = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
        assert [f"Step {step}/30" for step in range(30, 0, -1)] == [
            one[: one.index(":")] for one in told if "Step" in one
        ]
        assert len(told) == len(set(told))
        rows = until(lambda: gateway.rows("call_id = ?", job.id), what="the row")
        assert len(rows) == 1
        assert len(provider_jobs(provider, job.id)) == 1


def provider_jobs(provider: OfflineServer, job_id: str) -> list[str]:
    with openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY) as direct:
        return [job.id for job in direct.fine_tuning.jobs.list(metadata={"switchyard_job": job_id})]


def test_async_clients_are_served_alike(tuning: RunningGateway) -> None:
    key = tuning.key("asynchronous", fresh=True)
    time.sleep(1.0)

    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=tuning.base_url, api_key=key) as client:
            file = await client.files.create(file=("t.jsonl", TRAINING), purpose="fine-tune")
            job = await client.fine_tuning.jobs.create(model=MODEL, training_file=file.id)
            return [event.message async for event in client.fine_tuning.jobs.list_events(job.id, limit=1)]

    assert any("Created" in message for message in asyncio.run(run()))
