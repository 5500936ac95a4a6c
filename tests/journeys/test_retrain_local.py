"""A line that a provider tuned is moved to a model on this machine: its dataset is kept here, so is what it can be."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.fakes.offline_server import offline_server
from tests.fakes.running_gateway import POLICIES, ROOT, UPSTREAM_KEY, RunningGateway, free_port, running_gateway, until

pytestmark = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("peft") is None,
    reason="torch and peft are not installed: the extra `train`, see the Makefile",
)

TOPICS = {
    "refund": "Refunds take five days.",
    "parcel": "Your order is on its way.",
    "plan": "You can change your plan at any time.",
    "invoice": "Invoices are in your account.",
    "password": "Set a new password at sign in.",
    "address": "Write to us about your address.",
    "warranty": "The warranty is two years.",
    "voucher": "A voucher is valid for a year.",
    "delivery": "Delivery is free from thirty euros.",
    "return": "Returns are free for a month.",
    "colour": "Colours differ on every screen.",
    "gift": "Gifts are wrapped for free.",
}
TRAINING = "".join(
    json.dumps({"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}) + "\n"
    for topic, answer in TOPICS.items()
    for ask in (f"Tell me about my {topic}", f"{topic}?")
).encode()


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[RunningGateway]:
    from tests.fakes.tiny_model import save_tiny_model  # noqa: PLC0415  # needs torch

    base, port = tmp_path / "tiny", free_port()
    save_tiny_model(base)
    models = (POLICIES / "models.yaml").read_text()
    tuned = (
        f"  tuned:\n    base_url: http://127.0.0.1:{port}/v1\n    timeouts: {{connect: 2, first_byte: 60, total: 90}}\n"
    )
    models = models.replace("upstreams:\n", f"upstreams:\n{tuned}", 1)
    models = models.replace("models:\n", "models:\n  tiny: {upstream: tuned}\n", 1)
    here = {
        "kind": "local",
        "upstream": "tuned",
        "serve": port,
        "models": {"tiny": {"path": str(base), "learning_rate": 0.01}},
    }
    tuning = {
        "trainers": {"here": here, "hosted": {"kind": "openai_api", "upstream": "main"}},
        "jobs": [{"models": ["tiny"], "trainer": "here"}, {"models": ["*"], "trainer": "hosted"}],
    }
    files = {"models.yaml": models, "tuning.yaml": json.dumps(tuning)}
    with (
        offline_server(key=UPSTREAM_KEY, tuning_seconds=0.4) as provider,
        running_gateway(tmp_path / "gateway", provider.base_url, files=files) as running,
    ):
        yield running


def test_a_line_moves_from_a_provider_to_this_machine(moving: RunningGateway) -> None:
    client = moving.client("support")
    file = client.files.create(file=("training.jsonl", TRAINING), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file=file.id)
    until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "succeeded" or None, 30, what="the job")
    assert moving.cli("tuning", "create", "tone-of-ours", "--team", "support", "--job", job.id).returncode == 0
    wanted = ("tuning", "retrain", "tone-of-ours", "--base", "tiny", "--trainer", "here", "--epochs", "20")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *wanted, "--yes", "--json"],
        cwd=ROOT,
        env=moving.environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    arms = {one["arm"]["name"]: one for one in told["evaluated"]["arms"]}
    assert list(arms) == ["v1", "v2", "direct:tiny", "rag:help-centre:gpt-4.1-mini"]
    assert {(one["status"], one["errors"]) for one in arms.values()} == {("completed", 0)}
    assert arms["v2"]["done"] >= 5
    shown = json.loads(moving.cli("tuning", "show", "tone-of-ours", "--json").stdout)["line"]["versions"]
    assert [one["version"]["upstream"] for one in shown] == ["main", "tuned"]
    assert shown[1]["version"]["base"] == "tiny"
