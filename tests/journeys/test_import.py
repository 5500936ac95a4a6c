"""Jobs that an app made at its provider, without a gateway, answer here under their own ids once imported."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import ROOT, UPSTREAM_KEY, RunningGateway, running_gateway, until

LINE = b'{"messages":[{"role":"user","content":"Hi %d of %d"},{"role":"assistant","content":"Hello, number %d"}]}\n'
MODEL = "gpt-4o-mini-2024-07-18"
JOBS = 8
TEAMS = {2: {"team": "named"}, 5: {"team": "unheard-of"}}


def training(of: int) -> bytes:
    return b"".join(LINE % (number, of, number) for number in range(12))


@pytest.fixture(scope="module")
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY, tuning_seconds=0.2) as server:
        yield server


@pytest.fixture(scope="module")
def jobs(provider: OfflineServer) -> list[Any]:
    """Jobs made right at the provider; the last one fails: its file is too short."""
    client = openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY, max_retries=0)
    made = []
    for number in range(JOBS):
        content = training(number) if number < JOBS - 1 else training(number)[:200]
        file = client.files.create(file=(f"training-{number}.jsonl", content), purpose="fine-tune")
        metadata = {"number": str(number), **TEAMS.get(number, {})}
        job = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, suffix=f"s{number}", metadata=metadata)
        made.append(job.id)
    ended = {"succeeded", "failed"}
    until(
        lambda: all(client.fine_tuning.jobs.retrieve(one).status in ended for one in made) or None, 20, what="all ends"
    )
    return [client.fine_tuning.jobs.retrieve(one) for one in made]


@pytest.fixture
def importing(tmp_path: Path, provider: OfflineServer, jobs: list[Any]) -> Iterator[RunningGateway]:
    assert jobs
    with running_gateway(tmp_path / "gateway", provider.base_url) as running:
        running.team("tuners")
        running.team("named")
        yield running


def imported(gateway: RunningGateway, *more: str) -> Any:
    done = gateway.cli("tuning", "import", "openai", "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_was_imported_answers_under_its_own_ids(
    importing: RunningGateway, jobs: list[Any], provider: OfflineServer
) -> None:
    dry = imported(importing, "--team", "tuners", "--dry-run")
    client = importing.client("tuners")
    before = {job.id for job in client.fine_tuning.jobs.list(limit=100)}
    made = imported(importing, "--team", "tuners")
    assert (dry["jobs"], dry["events"], before) == (made["jobs"], made["events"], set())
    assert (made["jobs"], made["here_already"], made["missing"]) == (JOBS, 0, [])
    assert made["files"] == JOBS + (JOBS - 1)
    theirs = openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY, max_retries=0)
    for job in jobs:
        ours = client.fine_tuning.jobs.retrieve(job.id)
        fields = ("status", "model", "fine_tuned_model", "trained_tokens", "training_file", "result_files", "seed")
        assert [getattr(ours, name) for name in fields] == [getattr(job, name) for name in fields]
        assert (ours.metadata or {})["imported_from"] == "main"
        told = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
        assert told == [event.message for event in theirs.fine_tuning.jobs.list_events(job.id, limit=100)]
        points = [one.fine_tuned_model_checkpoint for one in client.fine_tuning.jobs.checkpoints.list(job.id)]
        assert points == [one.fine_tuned_model_checkpoint for one in theirs.fine_tuning.jobs.checkpoints.list(job.id)]
        assert client.files.content(job.training_file).content == theirs.files.content(job.training_file).content
    assert jobs[-1].status == "failed"
    failed = client.fine_tuning.jobs.retrieve(jobs[-1].id).error
    assert failed is not None
    assert failed.message == jobs[-1].error.message
    assert importing.rows("endpoint = 'training'") == []
    with pytest.raises(openai.NotFoundError):
        importing.client("named").fine_tuning.jobs.retrieve(jobs[0].id)


def test_a_file_whose_provider_is_busy_is_not_said_to_be_gone(
    importing: RunningGateway, jobs: list[Any], provider: OfflineServer
) -> None:
    """A 503 for its bytes ends the import, to be run again; a 403 is an answer."""
    busy, refused = jobs[3].training_file, jobs[4].training_file
    provider.lay(times=1, path=f"/v1/files/{busy}/content", status=503)
    done = importing.cli("tuning", "import", "openai", "--team", "tuners")
    assert done.returncode == 1
    assert "503" in done.stderr
    provider.lay(times=1, path=f"/v1/files/{refused}/content", status=403)
    assert imported(importing, "--team", "tuners")["missing"] == [refused]
    assert provider.faults() == []
    assert importing.client("tuners").files.content(busy).content == training(3)


def test_a_second_import_adds_nothing(importing: RunningGateway) -> None:
    imported(importing, "--team", "tuners")
    again = imported(importing, "--team", "tuners")
    assert (again["jobs"], again["files"], again["events"], again["models"]) == (0, 0, 0, [])
    assert again["here_already"] == JOBS


def test_jobs_of_no_team_are_left_out_and_said(importing: RunningGateway, jobs: list[Any]) -> None:
    made = imported(importing)
    assert made["jobs"] == 1
    assert {one for one, _ in made["left_out"]} == {job.id for place, job in enumerate(jobs) if place != 2}
    assert "'unheard-of', which is no team" in dict(made["left_out"])[jobs[5].id]
    assert importing.client("named").fine_tuning.jobs.retrieve(jobs[2].id).id == jobs[2].id


def test_a_team_that_is_none_and_an_upstream_that_is_none(importing: RunningGateway) -> None:
    for wrong in (("--team", "nobody"), ("--team", "tuners", "--upstream", "nowhere")):
        done = importing.cli("tuning", "import", "openai", *wrong)
        assert done.returncode == 1
        assert wrong[-1] in done.stderr


def test_an_import_that_was_killed_is_gone_on_with(importing: RunningGateway, jobs: list[Any]) -> None:
    """Killed as soon as it has brought some of it; the second one brings the rest, each thing once."""
    command = [sys.executable, "-m", "gateway", "tuning", "import", "openai", "--team", "tuners"]
    process = subprocess.Popen(command, cwd=ROOT, env=importing.environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("job 4"):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    client = importing.client("tuners")
    part = len(list(client.fine_tuning.jobs.list(limit=100)))
    assert 0 < part < JOBS
    made = imported(importing, "--team", "tuners")
    assert made["jobs"] + part == JOBS
    assert len(list(client.fine_tuning.jobs.list(limit=100))) == JOBS
    kept = [file.id for file in client.files.list() if file.purpose == "fine-tune"]
    assert sorted(kept) == sorted(job.training_file for job in jobs)
    model = next(job.fine_tuned_model for job in jobs if job.fine_tuned_model)

    def answers() -> bool:
        try:
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hi"}])
        except openai.NotFoundError:
            time.sleep(0.1)
            return False
        return True

    until(answers, 10, what="the model to answer")
