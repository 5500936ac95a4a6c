"""`gateway policy fit`: labelled calls in, weights out, and the rules go by them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.policy.signals_file import BUILT_IN
from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import A_SECOND, POLICIES, RunningGateway, running_gateway, until

BAD_CONFIGURATION = 78
KIND = "You write replies for Larkfield & Sons."
RULES = """
rules:
  - {name: tone, when: {task: {line: tone}}, use: {path: fine_tuned, line: tone}}
  - name: held
    when: {knowledge: {collections: [help-centre]}}
    use: {path: rag, collections: [help-centre], model: gpt-4.1-mini}
  - {name: rest, use: {path: direct, model: gpt-4.1-mini}}
"""
THINGS = ("mug", "vase", "kettle", "lamp", "scarf", "clock", "teapot", "blanket", "basket", "candle")
COMPLAINTS = [f"Please answer this complaint: the {thing} arrived broken." for thing in THINGS]
QUESTIONS = [
    *("How long do refunds take?", "When is a refund paid?", "How do I get my refund?", "Is shipping abroad possible?"),
    *("What does shipping cost?", "How long does shipping take?", "Do you ship to islands?", "Who pays for returns?"),
]
CHATTER = [f"What rhymes with {thing}, and why?" for thing in THINGS]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """A gateway whose weights say that nothing is like anything."""
    models = (POLICIES / "models.yaml").read_text()
    models = models.replace("shutdown_date: 2098-12-31", "shutdown_date: 2098-12-31\n        training_file: tone.jsonl")
    taught = [
        {"messages": [{"role": "system", "content": KIND}, {"role": "user", "content": text}, answer]}
        for text in COMPLAINTS
        for answer in [{"role": "assistant", "content": "Hello Sam, a new one is on its way."}]
    ]
    blind = yaml.safe_load(BUILT_IN.read_text())
    for model in (*blind["task"].values(), *blind["knowledge"].values()):
        model |= {"intercept": -20, "weights": {}}
    files = {
        "routing.yaml": RULES,
        "models.yaml": models,
        "signals.yaml": yaml.safe_dump(blind),
        "tone.jsonl": "\n".join(map(json.dumps, taught)),
    }
    with running_gateway(tmp_path_factory.mktemp("fit"), upstream.base_url, files=files) as running:
        yield running


def line(text: str, label: str, target: str | None = None, system: str = "") -> str:
    turns = [{"role": "system", "content": system}] if system else []
    call = {"messages": [*turns, {"role": "user", "content": text}], "label": label, "target": target}
    return json.dumps(call | {"team": "support"})


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "labelled.jsonl"
    lines = [line(text.replace("arrived", "came"), "fine_tuned", "tone", KIND) for text in COMPLAINTS]
    lines += [line(text, "rag_single", "help-centre") for text in QUESTIONS]
    lines += [line(text, "plain") for text in CHATTER]
    path.write_text("\n".join(lines))
    return path


def rule_of(gateway: RunningGateway, text: str, system: str = "") -> str:
    turns: list[Any] = [{"role": "system", "content": system}] if system else []
    raw = gateway.client().chat.completions.with_raw_response.create(
        model="auto", messages=[*turns, {"role": "user", "content": text}]
    )
    return raw.headers["x-gateway-rule"]


def test_without_write_nothing_is_written(gateway: RunningGateway, labelled: Path) -> None:
    before = {path: path.read_bytes() for path in gateway.policies.rglob("*") if path.is_file()}
    done = gateway.cli("policy", "fit", "--from", str(labelled))
    assert done.returncode == 0, done.stderr
    assert "macro-F1" in done.stdout
    assert "Not written" in done.stdout
    assert {path: path.read_bytes() for path in gateway.policies.rglob("*") if path.is_file()} == before


def test_every_bad_line_and_target_is_named(gateway: RunningGateway, labelled: Path) -> None:
    good, before = labelled.read_text(), (gateway.policies / "signals.yaml").read_bytes()
    labelled.write_text(f'{good}\n{{"label": "direct"}}\n{line("Hi", "sideways")}\n{line("Hi", "rag")}\n{{')
    count = len(good.splitlines())
    done = gateway.cli("policy", "fit", "--from", str(labelled), "--write")
    assert done.returncode == BAD_CONFIGURATION
    for number in range(count + 1, count + 5):
        assert f"{labelled}:{number}:1:" in done.stderr
    assert "Traceback" not in done.stderr
    labelled.write_text(f"{good}\n{line('Hi', 'rag', 'no-such-collection')}\n{line('Hi', 'fine_tuned', 'old-tone')}")
    done = gateway.cli("policy", "fit", "--from", str(labelled), "--write")
    assert done.returncode == BAD_CONFIGURATION
    assert "'no-such-collection'" in done.stderr
    assert "'old-tone'" in done.stderr
    assert (gateway.policies / "signals.yaml").read_bytes() == before
    assert gateway.cli("policy", "fit", "--from", "/nowhere").returncode == BAD_CONFIGURATION


def test_written_weights_are_in_force_within_a_second(gateway: RunningGateway, labelled: Path) -> None:
    asked = {
        "tone": ("Please answer this complaint: the jug came chipped.", KIND),
        "held": ("How long do refunds take?", ""),
        "rest": ("What rhymes with orange, and why?", ""),
    }
    assert {rule_of(gateway, *call) for call in asked.values()} == {"rest"}
    done = gateway.cli("policy", "fit", "--from", str(labelled), "--write", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["written"]
    assert told["calls"] == len(labelled.read_text().splitlines())
    assert told["macro_f1"] > 0.8
    written = yaml.safe_load((gateway.policies / "signals.yaml").read_text())
    assert written == told["signals"]
    assert (written["fitted"]["calls"], written["fitted"]["source"]) == (told["calls"], "labelled.jsonl")
    until(lambda: rule_of(gateway, *asked["tone"]) == "tone", A_SECOND + 1, what="the new weights")
    assert {rule: rule_of(gateway, *call) for rule, call in asked.items()} == {rule: rule for rule in asked}
    assert gateway.cli("policy", "check").returncode == 0
