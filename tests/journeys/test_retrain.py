"""A line is retrained by a plan that goes on wherever it was killed, and trains once."""

import json
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

LINE = (
    b'{"messages":[{"role":"user","content":"Where is parcel %d of order %d?"},'
    b'{"role":"assistant","content":"Parcel %d left on day %d and is on its way."}]}\n'
)
TRAINING = b"".join(LINE % (number, number * 7, number, number % 5) for number in range(60))
MODEL, BASE = "gpt-4o-mini-2024-07-18", "gpt-4o-mini"
STEPS = ["rebuild", "lint", "price", "upload", "train", "register", "evaluate", "propose"]

ORDER = ["plan", *STEPS]


@pytest.fixture(scope="module")
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY, tuning_seconds=1.0) as server:
        yield server


@pytest.fixture
def retraining(tmp_path: Path, provider: OfflineServer) -> Iterator[RunningGateway]:
    """A line `parcels` of `support` with one version."""
    with running_gateway(tmp_path / "gateway", provider.base_url) as running:
        client = running.client("support")
        time.sleep(1.0)
        file = client.files.create(file=("training.jsonl", TRAINING), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id)
        until(lambda: ended(client, job.id), 30, what="the first job")
        done = running.cli("tuning", "create", "parcels", "--team", "support", "--job", job.id)
        assert done.returncode == 0, done.stderr
        yield running


def ended(client: openai.OpenAI, job: str) -> bool:
    return client.fine_tuning.jobs.retrieve(job).status == "succeeded"


WANTED = ("tuning", "retrain", "parcels", "--base", BASE, "--trainer", "upstream")


def lines(gateway: RunningGateway) -> Any:
    return json.loads(gateway.cli("tuning", "show", "parcels", "--json").stdout)["line"]


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(retraining: RunningGateway) -> None:
    before = lines(retraining)
    files = [file.id for file in retraining.client("support").files.list()]
    done = retraining.cli(*WANTED, "--dry-run")
    assert done.returncode == 0, done.stderr
    for number, step in enumerate(STEPS, 1):
        assert f"{number} {step}" in done.stdout
    told = json.loads(retraining.cli(*WANTED, "--dry-run", "--json").stdout)
    assert (told["faults"], told["items"] + told["rows"], told["plan"]) == ([], 60, None)
    assert told["cost_nano_usd"] == told["tokens"] * 3_000
    calls = told["items"] * 4
    assert told["evaluation_calls"] == calls
    assert f"{calls} calls ({told['items']} items x 4 arms), on top of the price above" in done.stdout
    assert told["arms"][0] == f"direct:{BASE}"
    assert lines(retraining) == before
    assert [file.id for file in retraining.client("support").files.list()] == files
    refused = retraining.cli(*WANTED)
    assert refused.returncode == 1
    assert "--yes" in refused.stderr


def test_a_plan_that_is_killed_after_every_step_trains_once(retraining: RunningGateway) -> None:
    """Each run is killed as soon as it says that the next step, or one after it, is done; the last one ends."""
    for step in ORDER[:-1]:
        killed_at(retraining, step)
    done = retraining.cli(*WANTED, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert "is gone on with" in done.stderr
    told = json.loads(done.stdout)
    assert told["version"] == 2
    assert told["plan"]["state"] == "done"
    assert list(json.loads(told["plan"]["done"])) == STEPS
    arms = {one["arm"]["name"]: one for one in told["evaluated"]["arms"]}
    assert list(arms) == ["v1", "v2", f"direct:{BASE}", "rag:help-centre:gpt-4.1-mini"]
    assert {(one["status"], one["errors"]) for one in arms.values()} == {("completed", 0)}
    jobs = [job for job in retraining.client("support").fine_tuning.jobs.list() if job.model == BASE]
    assert len(jobs) == 1
    rows = retraining.rows("endpoint = 'training' AND call_id = ?", jobs[0].id)
    assert len(rows) == 1
    found = lines(retraining)
    assert [one["version"]["number"] for one in found["versions"]] == [1, 2]
    assert (found["line"]["champion"], found["line"]["canary"]) == (1, 0.0)
    assert found["versions"][1]["version"]["parent"] == 1
    again = json.loads(retraining.cli(*WANTED, "--dry-run", "--json").stdout)
    assert again["plan"] is None, "the plan is over; the next one is new"


def killed_at(gateway: RunningGateway, step: str) -> None:
    command = [sys.executable, "-m", "gateway", *WANTED, "--yes"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=gateway.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        # What the run before did between saying so and its end is not said again.
        if line.partition(":")[0] in ORDER[ORDER.index(step) :]:
            break
    else:
        raise AssertionError(f"{step} was never said: {''.join(seen)}")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()


def test_a_trainer_that_is_none_and_rows_that_it_does_not_take(retraining: RunningGateway, tmp_path: Path) -> None:
    few = tmp_path / "most.jsonl"
    few.write_bytes(b"".join(TRAINING.splitlines(keepends=True)[:55]))
    jobs = [job.id for job in retraining.client("support").fine_tuning.jobs.list()]
    files = [file.id for file in retraining.client("support").files.list()]
    done = retraining.cli(*WANTED, "--set", str(few), "--yes")
    assert done.returncode == 1
    assert "F004" in done.stderr, done.stderr
    assert [job.id for job in retraining.client("support").fine_tuning.jobs.list()] == jobs
    assert [file.id for file in retraining.client("support").files.list()] == files
    told = json.loads(retraining.cli(*WANTED, "--set", str(few), "--dry-run", "--json").stdout)
    assert told["plan"] is not None, "it is open: mended rows would go on with it"
    done = retraining.cli("tuning", "retrain", "parcels", "--base", BASE, "--trainer", "nobody", "--dry-run")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    done = retraining.cli("tuning", "retrain", "nothing", "--base", BASE, "--trainer", "upstream", "--dry-run")
    assert done.returncode == 1
    assert "nothing" in done.stderr


def test_a_champion_past_its_day_gives_nothing_up_and_the_candidate_is_promoted(retraining: RunningGateway) -> None:
    first = lines(retraining)["versions"][0]["version"]
    made = {"model": first["model"], "upstream": first["upstream"], "base": MODEL}
    ended = {**made, "training_file": first["training_file"], "shutdown_date": "2026-01-01"}
    retraining.admin("POST", "/admin/lines", {"name": "ended", "owner": "support", "version": ended})
    wanted = ("tuning", "retrain", "ended", "--base", BASE, "--trainer", "upstream")
    dry = retraining.cli(*wanted, "--dry-run")
    assert "v1 ended on 2026-01-01" in dry.stdout, dry.stdout + dry.stderr
    done = retraining.cli(*wanted, "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("v1 ended on 2026-01-01") < done.stderr.index("upload:")
    assert "There was no champion to compare with: v1 ended on 2026-01-01" in done.stdout
    promoted = retraining.cli("tuning", "promote", "ended", "2", "--json")
    assert promoted.returncode == 0, promoted.stderr
    told = json.loads(promoted.stdout)
    assert (told["line"]["champion"], told["was_forced"]) == (2, False)


def test_what_answers_nothing_ends_no_plan_and_costs_no_second_training(
    retraining: RunningGateway, provider: OfflineServer
) -> None:
    killed_at(retraining, "register")
    champion, candidate = (one["version"]["model"] for one in lines(retraining)["versions"])
    provider.lay(model=champion, status=404)
    provider.lay(model=candidate, status=400)
    refused = retraining.cli(*WANTED, "--yes")
    assert refused.returncode == 1
    assert "v2 could not be measured" in refused.stderr
    assert "stays open" in refused.stderr
    provider.reset()
    provider.lay(model=champion, status=404)
    done = retraining.cli(*WANTED, "--yes", "--json")
    provider.reset()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["plan"]["state"] == "done"
    assert "v1 answered nothing" in told["without"]
    arms = {one["arm"]["name"]: one["mean"] for one in told["evaluated"]["arms"]}
    assert arms["v1"] is None
    assert None not in {mean for name, mean in arms.items() if name != "v1"}
    assert len([job for job in retraining.client("support").fine_tuning.jobs.list() if job.model == BASE]) == 1
    strict = retraining.cli("tuning", "promote", "parcels", "2")
    assert strict.returncode == 1


def test_two_equal_commands_at_once_train_once(retraining: RunningGateway) -> None:
    command = [sys.executable, "-m", "gateway", *WANTED, "--yes", "--json"]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, env=retraining.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    ended_as = [(*process.communicate(), process.returncode) for process in both]
    assert [code for _, _, code in ended_as] == [0, 0], ended_as
    told = [json.loads(out) for out, _, _ in ended_as]
    assert told[0]["plan"]["id"] == told[1]["plan"]["id"]
    assert [one["version"] for one in told] == [2, 2]
    assert len([job for job in retraining.client("support").fine_tuning.jobs.list() if job.model == BASE]) == 1
    assert len(lines(retraining)["versions"]) == 2
