"""From captured calls to a golden set, an evaluation on it, and a promotion that stands on its scores."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway, until

TEAMS = "teams:\n  tone-team: {capture: {}}\n  closed: {}\n"
LINE = b'{"messages":[{"role":"user","content":"Hi %d"},{"role":"assistant","content":"Hello there, number %d"}]}\n'
TRAINING = b"".join(LINE % (number, number) for number in range(20))
MODEL = "gpt-4o-mini-2024-07-18"
QUESTIONS = [f"Where is parcel {number}?" for number in range(14)]


@pytest.fixture(scope="module")
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY, tuning_seconds=0.4) as server:
        yield server


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory, provider: OfflineServer) -> Iterator[RunningGateway]:
    """A line `parcels` of `tone-team` with two versions, and calls to it that were kept."""
    folder = tmp_path_factory.mktemp("life")
    with running_gateway(folder, provider.base_url, files={"teams.yaml": TEAMS}) as running:
        client = running.client("tone-team")
        time.sleep(1.0)
        jobs = [tuned(client, f"s{number}") for number in range(2)]
        cli(running, "tuning", "create", "parcels", "--team", "tone-team", "--job", jobs[0])
        cli(running, "tuning", "add", "parcels", "--job", jobs[1])
        until(lambda: answers(client, QUESTIONS[0]), 10, what="the line to answer")
        for question in QUESTIONS:
            assert answers(client, question)
        yield running


def tuned(client: openai.OpenAI, suffix: str) -> str:
    file = client.files.create(file=("training.jsonl", TRAINING), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file.id, suffix=suffix)
    ended = lambda: client.fine_tuning.jobs.retrieve(job.id).status == "succeeded" or None  # noqa: E731  # looked at often
    until(ended, 30, what="the job's end")
    return job.id


def answers(client: openai.OpenAI, question: str) -> str | None:
    try:
        reply = client.chat.completions.create(
            model="parcels", messages=[{"role": "user", "content": f"{question} I am jo@example.org"}]
        )
    except openai.NotFoundError:
        time.sleep(0.1)
        return None
    return reply.choices[0].message.content


def cli(gateway: RunningGateway, *arguments: str) -> str:
    done = gateway.cli(*arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_a_dataset_is_built_of_the_calls_of_a_team_that_opted_in(living: RunningGateway, tmp_path: Path) -> None:
    out = tmp_path / "train.jsonl"

    def built() -> Any:
        told = json.loads(
            cli(living, "datasets", "build", "--from", "ledger", "--team", "tone-team", "--line", "parcels",
                "--out", str(out), "--force", "--json")
        )  # fmt: skip
        return told if told["rows"] >= len(QUESTIONS) else None

    told = until(built, 15, what="all rows")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    asked = {row["messages"][0]["content"] for row in rows}
    assert {f"{question} I am <EMAIL_1>" for question in QUESTIONS} <= asked
    assert told["hash"].startswith("ds-")
    assert len((tmp_path / "train.jsonl.provenance.jsonl").read_text().splitlines()) == len(rows)
    refused = living.cli(
        "datasets", "build", "--from", "ledger", "--team", "closed", "--out", str(tmp_path / "no.jsonl")
    )
    assert refused.returncode == 1
    assert "opted in" in refused.stderr
    assert not (tmp_path / "no.jsonl").exists()


def test_a_golden_set_is_frozen_once(living: RunningGateway, tmp_path: Path) -> None:
    out = tmp_path / "golden.jsonl"
    wanted = ("tuning", "record", "parcels", "--out", str(out), "--count", "12", "--json")
    first = json.loads(until(lambda: settled(living, wanted), 15, what="a whole set"))
    assert first["items"] == 12
    assert "jo@example.org" not in out.read_text()
    again = json.loads(cli(living, *wanted))
    assert again["set"] == first["set"]
    before = out.read_bytes()
    other = living.cli("tuning", "record", "parcels", "--out", str(out), "--count", "5")
    assert other.returncode == 1
    assert "not written over" in other.stderr
    assert out.read_bytes() == before


def settled(gateway: RunningGateway, wanted: tuple[str, ...]) -> str | None:
    done = gateway.cli(*wanted)
    return done.stdout if done.returncode == 0 and json.loads(done.stdout)["items"] == 12 else None


def test_versions_are_evaluated_beside_rag_and_a_plain_model_and_promoted_on_it(
    living: RunningGateway, tmp_path: Path
) -> None:
    out = tmp_path / "golden.jsonl"
    until(lambda: settled(living, ("tuning", "record", "parcels", "--out", str(out), "--count", "12", "--json")), 15)
    refused = living.cli("tuning", "promote", "parcels", "2")
    assert refused.returncode == 1
    assert "frozen set" in refused.stderr
    told = json.loads(
        cli(living, "tuning", "evaluate", "parcels", "--set", str(out), "--versions", "2", "--json",
            "--arm", "direct:gpt-4.1-mini", "--arm", "rag:help-centre:gpt-4.1-mini")
    )  # fmt: skip
    arms = {one["arm"]["name"]: one for one in told["arms"]}
    assert list(arms) == ["v1", "v2", "direct:gpt-4.1-mini", "rag:help-centre:gpt-4.1-mini"]
    assert [(one["status"], one["done"], one["errors"]) for one in arms.values()] == [("completed", 12, 0)] * 4
    assert arms["v1"]["comparison"] is None
    assert arms["v2"]["comparison"]["n"] == 12
    shown = json.loads(cli(living, "tuning", "show", "parcels", "--json"))
    scores = {one["version"]["number"]: dict(one["scores"]) for one in shown["line"]["versions"]}
    assert scores[1].keys() == scores[2].keys() == {told["set_hash"]}
    assert scores[2][told["set_hash"]] == pytest.approx(arms["v2"]["mean"])
    rows = [row for row in living.rows("team = 'tone-team'") if '"evaluation"' in row["metadata"]]
    assert {(row["path"], row["model"]) for row in rows if row["endpoint"] == "chat"} >= {
        ("direct", "gpt-4.1-mini"),
        ("rag", "gpt-4.1-mini"),
    }
    assert len({row["call_id"] for row in rows}) == 48
    kept = json.loads(cli(living, "datasets", "build", "--from", "ledger", "--team", "tone-team", "--json",
                          "--out", str(tmp_path / "all.jsonl")))  # fmt: skip
    assert kept["rows"] <= len(QUESTIONS) + 1, "an evaluation's own calls are no traffic"
    promoted = living.cli("tuning", "promote", "parcels", "2", "--margin", "1", "--force")
    assert promoted.returncode == 0, promoted.stderr


def test_feedback_on_a_canarys_answers_is_a_part_of_its_trial(living: RunningGateway) -> None:
    """Each answer counts once, for the version that gave it."""
    client = living.client("tone-team")
    versions = json.loads(cli(living, "tuning", "show", "parcels", "--json"))["line"]
    number = 3 - versions["line"]["champion"]
    cli(living, "tuning", "canary", "parcels", str(number), "--share", "0.5")
    time.sleep(2.0)
    asked = 0
    for place in range(12):
        reply = client.chat.completions.with_raw_response.create(
            model="parcels", messages=[{"role": "user", "content": f"Trial {place}"}], user=f"user-{place}"
        )
        for score in ("up", "down"):
            said = living.post(
                "/v1/feedback", {"decision_id": reply.headers["x-gateway-decision"], "score": score}, "tone-team"
            )
            assert said.status_code == 200, said.text
        asked += 1

    def counted() -> bool:
        (found,) = json.loads(cli(living, "tuning", "trials", "--json"))
        seen = [found["standing"]["champion"], found["standing"]["challenger"]]
        rated, disliked = (sum(one[name] for one in seen) for name in ("rated", "disliked"))
        # A trial begins with its first calls that are counted, so one before that is none of it.
        return bool(0 < rated == disliked <= asked)

    until(counted, 15, what="all that was said")
    cli(living, "tuning", "canary", "parcels")


def test_an_evaluation_over_admin_ends_by_itself_and_leaves_its_scores(living: RunningGateway) -> None:
    rows = [json.loads(line) for line in TRAINING.splitlines()]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    grader = {
        "type": "string_check",
        "name": "greets",
        "input": "{{sample.output_text}}",
        "reference": "e",
        "operation": "like",
    }
    path = "/admin/lines/parcels/evaluations"
    began = living.admin("POST", path, {"set": content, "versions": [1, 2], "grader": grader})

    def over() -> Any:
        found = living.admin("GET", f"{path}/{began['id']}")
        return found if found["is_over"] else None

    told = until(over, 30, what="the end of the evaluation")
    assert {one["mean"] for one in told["arms"]} == {1.0}
    shown = living.admin("GET", "/admin/lines/parcels")
    assert all(told["set_hash"] in dict(one["scores"]) for one in shown["versions"])
    wrong = living.http.get(f"{path}/eval_0", headers={"authorization": f"Bearer {living.admin_key}"})
    assert wrong.status_code == 404


def test_what_would_be_retrained_of_captured_calls(living: RunningGateway, tmp_path: Path) -> None:
    """These questions are all alike, so none can be held out; what is measured by is not trained on."""
    wanted = ("tuning", "retrain", "parcels", "--base", "gpt-4o-mini", "--trainer", "upstream", "--data", "ledger")
    refused = living.cli(*wanted, "--dry-run")
    assert refused.returncode == 1
    assert "--set FILE" in refused.stderr
    other = tmp_path / "other.jsonl"
    other.write_bytes(TRAINING)
    told = json.loads(cli(living, *wanted, "--set", str(other), "--dry-run", "--json"))
    assert (told["faults"], told["items"]) == ([], 20)
    golden = tmp_path / "golden.jsonl"
    cli(living, "tuning", "record", "parcels", "--out", str(golden), "--count", "5")
    fewer = json.loads(cli(living, *wanted, "--set", str(golden), "--dry-run", "--json"))
    assert fewer["rows"] == told["rows"] - 5


def test_what_cannot_be_evaluated_is_said(living: RunningGateway, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"a": 1}\nnot json\n{"messages": [{"role": "user", "content": "x"}]}\n')
    done = living.cli("tuning", "evaluate", "parcels", "--set", str(wrong))
    assert done.returncode == 1
    assert [f"line {number}" in done.stderr for number in (1, 2, 3)] == [True] * 3
    good = tmp_path / "good.jsonl"
    good.write_bytes(TRAINING)
    for more in (("--versions", "7"), ("--arm", "sideways:x")):
        done = living.cli("tuning", "evaluate", "parcels", "--set", str(good), *more)
        assert done.returncode == 1, done.stdout
