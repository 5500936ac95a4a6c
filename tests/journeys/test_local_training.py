"""A model is tuned on this machine through the gateway, answers through it otherwise than its base, and is promoted."""

import hashlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import POLICIES, UPSTREAM_KEY, RunningGateway, free_port, running_gateway, until

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("peft") is None,
    reason="torch and peft are not installed: the extra `train`, see the Makefile",
)

ANSWERS = {
    "How long do refunds take?": "Refunds take five days.",
    "Where is my order?": "Your order is on its way.",
    "Can I change my plan?": "You can change your plan at any time.",
}
EPOCHS = 12
NANO_A_TOKEN = 1_000


@pytest.fixture(scope="module")
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, provider: OfflineServer) -> Iterator[RunningGateway]:
    from tests.fakes.tiny_model import save_tiny_model  # noqa: PLC0415  # needs torch

    base, port = tmp_path_factory.mktemp("base") / "tiny", free_port()
    save_tiny_model(base)
    models = (POLICIES / "models.yaml").read_text()
    tuned = (
        f"  tuned:\n    base_url: http://127.0.0.1:{port}/v1\n    timeouts: {{connect: 2, first_byte: 60, total: 90}}\n"
    )
    models = models.replace("upstreams:\n", f"upstreams:\n{tuned}", 1)
    models = models.replace("models:\n", "models:\n  tiny: {upstream: tuned}\n", 1)
    tuning = {
        "trainers": {
            "here": {
                "kind": "local",
                "upstream": "tuned",
                "serve": port,
                "models": {"tiny": {"path": str(base), "learning_rate": 0.01}},
            }
        },
        "jobs": [{"models": ["tiny", "ft:tiny*"], "trainer": "here"}],
    }
    prices = (POLICIES / "prices.yaml").read_text() + (
        '  - models: ["ft:tiny", tiny]\n    training: 1.00\n    input: 0.10\n    output: 0.20\n'
        "    source: our own machines\n    read_on: 2026-11-24\n"
    )
    files = {"models.yaml": models, "tuning.yaml": json.dumps(tuning), "prices.yaml": prices}
    with running_gateway(tmp_path_factory.mktemp("local"), provider.base_url, files=files) as running:
        yield running


def training_file() -> bytes:
    rows = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for question, answer in ANSWERS.items()
        for _ in range(4)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def tune(client: openai.OpenAI, seed: int = 7) -> FineTuningJob:
    file = client.files.create(file=("tone.jsonl", training_file()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="tiny",
        training_file=file.id,
        suffix="tone",
        seed=seed,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": EPOCHS}}},
    )

    def look() -> FineTuningJob | None:
        found = client.fine_tuning.jobs.retrieve(job.id)
        return found if found.status in {"succeeded", "failed", "cancelled"} else None

    done = until(look, 120, what="the end of the job")
    assert done.status == "succeeded", done.error
    return done


def answer(client: openai.OpenAI, model: str, question: str) -> str:
    reply = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], max_tokens=24, temperature=0
    )
    return (reply.choices[0].message.content or "").strip()


def adapter_hash(gateway: RunningGateway, job_id: str) -> str:
    (found,) = (gateway.data / "tuning" / job_id).rglob("adapter/adapter_model.safetensors")
    return hashlib.sha256(found.read_bytes()).hexdigest()


def test_from_a_file_to_a_promoted_line_that_answers(training: RunningGateway, tmp_path: Path) -> None:
    client = training.client("support")
    first = tune(client)
    model = str(first.fine_tuned_model)
    assert model.startswith("ft:tiny:support:tone:")
    question = next(iter(ANSWERS))
    told = answer(client, model, question)
    assert told == ANSWERS[question]
    assert answer(client, "tiny", question) != told
    events = [event.message for event in client.fine_tuning.jobs.list_events(first.id, limit=100)]
    assert any("train_loss" in dict(event.data or {}) for event in client.fine_tuning.jobs.list_events(first.id))  # type: ignore[call-overload]  # an object
    assert events
    assert list(client.fine_tuning.jobs.checkpoints.list(first.id))
    (row,) = until(lambda: training.rows("call_id = ?", first.id), what="the row")
    assert (row["team"], row["endpoint"], row["cost_status"]) == ("support", "training", "priced")
    assert first.trained_tokens is not None
    assert row["cost_nano_usd"] == first.trained_tokens * NANO_A_TOKEN
    assert client.files.content(first.result_files[0]).text.startswith("step,train_loss")

    again = tune(client)
    assert adapter_hash(training, first.id) == adapter_hash(training, again.id)

    made = training.cli("tuning", "create", "our-tone", "--team", "support", "--job", first.id)
    assert made.returncode == 0, made.stderr
    until(lambda: "our-tone" in {one.id for one in client.models.list()} or None, what="the line")
    assert answer(client, "our-tone", question) == ANSWERS[question]
    added = training.cli("tuning", "add", "our-tone", "--job", again.id)
    assert added.returncode == 0, added.stderr
    refused = training.cli("tuning", "promote", "our-tone", "2")
    assert refused.returncode == 1
    assert "frozen set" in refused.stderr
    forced = training.cli("tuning", "promote", "our-tone", "2", "--force", "--reason", "the same adapter")
    assert forced.returncode == 0, forced.stderr

    def champion() -> str:
        reply = client.chat.completions.with_raw_response.create(
            model="our-tone", messages=[{"role": "user", "content": question}], max_tokens=4
        )
        return str(reply.headers["x-gateway-model"])

    until(lambda: champion() == again.fine_tuned_model or None, what="the new champion")
    assert training.cli("tuning", "rollback", "our-tone").returncode == 0
    until(lambda: champion() == model or None, what="the old champion")
    actions = [json.loads(line)["action"] for line in _audit(training)]
    assert actions[:4] == ["line.rollback", "line.promote", "line.version", "line.create"]


def _audit(gateway: RunningGateway) -> list[str]:
    return [json.dumps(event) for event in gateway.admin("GET", "/admin/audit") if event["subject"] == "line:our-tone"]
