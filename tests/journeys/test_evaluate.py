"""Versions measured in the README's order, under its own rule: each arm by its own model, and no error as a score."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway, until

ROWS = b"".join(
    b'{"messages":[{"role":"user","content":"Card %d is lost"},{"role":"assistant","content":"lost_card"}]}\n' % number
    for number in range(30)
)
FIRST, SECOND = "ft:gpt-4o-mini-2024-07-18:acme:banking:Aa01", "ft:gpt-4o-mini-2024-07-18:acme:banking:Aa02"
OWN = ("--upstream", "main", "--base", "gpt-4o-mini-2024-07-18")
RULE = """
  - name: banking-intents
    when: {team: [support], task: {line: banking-intent, score_over: 0.01}}
    use: {path: fine_tuned, line: banking-intent}
"""
# Everything is graded alike, so that the gate has nothing against a version that is as good.
GRADER = {
    "type": "string_check",
    "name": "says something",
    "input": "{{sample.output_text}}",
    "reference": "e",
    "operation": "like",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def banking(tmp_path_factory: pytest.TempPathFactory, provider: OfflineServer) -> Iterator[RunningGateway]:
    """A line with its first version, and the README's rule without `model:`, which catches every call of the team."""
    folder = tmp_path_factory.mktemp("evaluate")
    with running_gateway(folder, provider.base_url) as running:
        client = running.client()
        file = client.files.create(file=("training.jsonl", ROWS), purpose="fine-tune")
        cli(running, "tuning", "create", "banking-intent", "--team", "support", "--model", FIRST, *OWN,
            "--training-file", file.id)  # fmt: skip
        until(lambda: path_of(running, "banking-intent") or None, 10, what="the line to answer")
        routing = running.policies / "routing.yaml"
        routing.write_text(routing.read_text().replace("rules:\n", f"rules:{RULE}", 1))
        until(lambda: path_of(running, "gpt-4.1-mini") == FIRST, 15, what="the rule to catch other models' calls")
        yield running


def path_of(gateway: RunningGateway, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Card 3 is lost"}]}
    reply = gateway.post("/v1/chat/completions", body)
    return reply.headers["x-gateway-model"] if reply.status_code == 200 else ""


def cli(gateway: RunningGateway, *arguments: str) -> str:
    done = gateway.cli(*arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def written(folder: Path) -> tuple[str, str]:
    (folder / "banking.validation.jsonl").write_bytes(ROWS)
    (folder / "grader.json").write_text(json.dumps(GRADER))
    return str(folder / "banking.validation.jsonl"), str(folder / "grader.json")


def test_an_arm_that_errors_has_no_score_and_the_gate_refuses(
    banking: RunningGateway, provider: OfflineServer, tmp_path: Path
) -> None:
    rows, grader = written(tmp_path)
    cli(banking, "tuning", "add", "banking-intent", "--model", SECOND, *OWN)
    time.sleep(1.5)
    provider.lay(model=SECOND, status=400)
    done = banking.cli("tuning", "evaluate", "banking-intent", "--set", rows, "--grader", grader, "--json")
    provider.reset()
    assert done.returncode == 1
    arms = {one["arm"]["name"]: one for one in json.loads(done.stdout)["arms"]}
    assert (arms["v1"]["mean"], arms["v2"]["mean"], arms["v2"]["comparison"], arms["v2"]["errors"]) == (
        1,
        None,
        None,
        30,
    )
    assert "not measured: 30 of 30" in arms["v2"]["fault"]
    refused = banking.cli("tuning", "promote", "banking-intent", "2")
    assert refused.returncode == 1
    assert "--versions 1,2" in refused.stderr


def test_the_readmes_own_order_reaches_promotion_and_each_arm_is_its_own_model(
    banking: RunningGateway, tmp_path: Path
) -> None:
    rows, grader = written(tmp_path)
    before = len(banking.rows())
    told: dict[str, Any] = json.loads(
        cli(banking, "tuning", "evaluate", "banking-intent", "--set", rows, "--grader", grader, "--json",
            "--arm", "direct:gpt-4.1-mini")
    )  # fmt: skip
    assert [(one["arm"]["name"], one["errors"]) for one in told["arms"]] == [
        ("v1", 0), ("v2", 0), ("direct:gpt-4.1-mini", 0),
    ]  # fmt: skip
    rows_of = [row for row in banking.rows()[before:] if '"evaluation"' in row["metadata"]]
    answered = {model: sum(row["model"] == model for row in rows_of) for model in (FIRST, SECOND, "gpt-4.1-mini")}
    assert answered == {FIRST: 30, SECOND: 30, "gpt-4.1-mini": 30}
    assert path_of(banking, "banking-intent@v2") == SECOND
    assert path_of(banking, "gpt-4.1-mini") == FIRST
    cli(banking, "tuning", "promote", "banking-intent", "2")
