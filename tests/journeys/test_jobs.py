"""Jobs begun through the gateway are booked when they end: once, with what the provider says, whoever asks or dies."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway, until

LINE = b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello there"}]}\n'
REFUSED = "missing-model"
MODEL = "gpt-4o-mini-2024-07-18"


@pytest.fixture(scope="module")
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY, tuning_seconds=1.5) as server:
        yield server


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, provider: OfflineServer) -> Iterator[RunningGateway]:
    """Two workers: each watches, and a job is one worker's at a time."""
    with running_gateway(tmp_path_factory.mktemp("jobs"), provider.base_url, workers=2) as running:
        yield running


def client_of(gateway: RunningGateway, team: str) -> openai.OpenAI:
    """With a key that both workers know by now; each asks the database every 0.4 seconds."""
    made = gateway.client(team)
    time.sleep(1.0)
    return made


def start_training(provider: OfflineServer, client: openai.OpenAI, lines: int = 20) -> Any:
    """Of a file that is the provider's own, so the job is too; jobs of files kept here: test_fine_tuning.py."""
    with openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY) as direct:
        file = direct.files.create(file=("training.jsonl", LINE * lines), purpose="fine-tune")
    return client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, suffix="tone")


def start_batch(
    provider: OfflineServer, client: openai.OpenAI, *models: str, endpoint: Any = "/v1/chat/completions"
) -> Any:
    """Of a file that is the provider's own, so the batch is too; batches of files kept here: test_batches.py."""
    lines = [
        {
            "custom_id": f"r{number}", "method": "POST", "url": endpoint,
            "body": {"model": model, "messages": [{"role": "user", "content": f"Question {number}"}]},
        }
        for number, model in enumerate(models)
    ]  # fmt: skip
    content = "\n".join(map(json.dumps, lines)).encode()
    with openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY) as direct:
        file = direct.files.create(file=("batch.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")


def watched(gateway: RunningGateway, job: str) -> dict[str, Any] | None:
    with closing(sqlite3.connect(gateway.data / "gateway.db", timeout=10)) as database:
        database.row_factory = sqlite3.Row
        row = database.execute("SELECT * FROM watched_jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else dict(row)


def rows(gateway: RunningGateway, job: str, seconds: float = 20) -> list[dict[str, Any]]:
    """The job's rows, once it is in the books."""

    def look() -> list[dict[str, Any]]:
        known = watched(gateway, job)
        return gateway.rows("call_id = ?", job) if known is not None and known["due_at"] is None else []

    return until(look, seconds, what=f"the rows of {job}")


def test_a_training_is_one_row_with_what_the_provider_trained(trained: RunningGateway, provider: OfflineServer) -> None:
    """Nobody asks for it through the gateway: it is polled."""
    client = client_of(trained, "trainers")
    job = start_training(provider, client)
    (row,) = rows(trained, job.id)
    told = client.fine_tuning.jobs.retrieve(job.id)
    assert told.trained_tokens is not None
    assert (row["id"], row["endpoint"], row["team"], row["outcome"]) == (job.id, "training", "trainers", "ok")
    assert (row["input_tokens"], row["output_tokens"]) == (told.trained_tokens, 0)
    assert row["model"] == told.fine_tuned_model
    # 3.00 USD a million trained tokens: 3,000 nano-dollars each, epochs counted in already.
    assert row["cost_nano_usd"] == told.trained_tokens * 3_000
    assert (row["cost_status"], json.loads(row["cost_by_kind"])) == ("priced", {"training": row["cost_nano_usd"]})
    assert row["at"] == told.finished_at
    assert trained.counted("gateway_cost_usd_total", team="trainers") == pytest.approx(row["cost_nano_usd"] / 1e9)
    assert trained.counted("gateway_tokens_total", team="trainers", kind="training") == told.trained_tokens


def test_asking_again_and_starting_again_book_nothing_more(trained: RunningGateway, provider: OfflineServer) -> None:
    client = client_of(trained, "patient")
    job = start_training(provider, client)
    for _ in range(40):
        client.fine_tuning.jobs.retrieve(job.id)
        client.fine_tuning.jobs.list()
    rows(trained, job.id)
    for _ in range(20):
        client.fine_tuning.jobs.retrieve(job.id)
        client.fine_tuning.jobs.list()
    trained.terminate()
    trained.start()
    client.fine_tuning.jobs.list()
    other = start_training(provider, client)
    rows(trained, other.id)
    assert len(trained.rows("team = 'patient' AND endpoint = 'training'")) == 2


def test_a_reply_in_passing_says_that_a_job_has_ended(trained: RunningGateway, provider: OfflineServer) -> None:
    """A cancelled one: what it trained is not told, so neither its tokens nor its cost are known; they are not 0."""
    client = client_of(trained, "hesitant")
    job = start_training(provider, client)
    until(lambda: watched(trained, job.id), what="the watch")
    client.fine_tuning.jobs.cancel(job.id)
    (row,) = rows(trained, job.id, 5)
    assert (row["outcome"], row["cost_status"]) == ("interrupted", "unpriced")
    assert (row["input_tokens"], row["cost_nano_usd"]) == (None, None)


def test_a_job_that_fails_is_one_row(trained: RunningGateway, provider: OfflineServer) -> None:
    job = start_training(provider, client_of(trained, "careless"), lines=2)
    (row,) = rows(trained, job.id)
    assert (row["outcome"], row["cost_nano_usd"]) == ("upstream_error", None)


def test_a_batch_is_a_row_for_each_model_with_the_sum_of_its_lines(
    trained: RunningGateway, provider: OfflineServer
) -> None:
    client = client_of(trained, "batchers")
    batch = start_batch(provider, client, *["gpt-4.1-mini"] * 5, *["gpt-4o-mini"] * 3, REFUSED)
    found = {row["id"]: row for row in rows(trained, batch.id)}
    told = client.batches.retrieve(batch.id)
    assert told.output_file_id is not None
    sums: dict[str, list[int]] = {}
    for line in client.files.content(told.output_file_id).text.splitlines():
        body = json.loads(line)["response"]["body"]
        both = sums.setdefault(f"{batch.id}:{body['model']}", [0, 0])
        both[0] += body["usage"]["prompt_tokens"]
        both[1] += body["usage"]["completion_tokens"]
    assert {row_id: [row["input_tokens"], row["output_tokens"]] for row_id, row in found.items()} == sums
    assert len(sums) == 2
    assert {(row["endpoint"], row["service_tier"], row["outcome"]) for row in found.values()} == {
        ("batch", "batch", "ok")
    }


def test_a_batch_that_answered_nothing_costs_nothing(trained: RunningGateway, provider: OfflineServer) -> None:
    client = client_of(trained, "early")
    batch = start_batch(provider, client, "gpt-4.1-mini")
    client.batches.cancel(batch.id)
    (row,) = rows(trained, batch.id)
    assert (row["id"], row["outcome"], row["cost_nano_usd"]) == (batch.id, "interrupted", 0)
    assert (row["input_tokens"], row["cost_status"]) == (0, "free")


def test_a_job_noted_before_a_kill_is_booked_after_it(tmp_path: Path, provider: OfflineServer) -> None:
    """SIGKILL as soon as its caller knows of it; whatever was asked and booked meanwhile, it is one row."""
    with running_gateway(tmp_path, provider.base_url) as gateway:
        client = gateway.client("unlucky")
        jobs = []
        for _ in range(3):
            jobs.append(start_training(provider, client).id)
            gateway.kill()
            gateway.start()
        found = [row for job in jobs for row in rows(gateway, job)]
        assert sorted(row["id"] for row in found) == sorted(jobs)
        assert all(row["cost_nano_usd"] > 0 for row in found)
        assert len(gateway.rows("endpoint = 'training'")) == 3


def test_an_upstream_that_is_away_is_asked_until_it_answers(trained: RunningGateway, provider: OfflineServer) -> None:
    job = start_training(provider, client_of(trained, "waiting"))
    provider.lay(times=2, path=f"/v1/fine_tuning/jobs/{job.id}", status=503)
    (row,) = rows(trained, job.id)
    assert row["outcome"] == "ok"
    assert provider.faults() == []
