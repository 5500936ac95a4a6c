"""A collection that is searched by meaning with a model in a folder: found, booked, free, checked at load."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until
from tests.fakes.sentence_model import write_sentence_model

HANDBOOK = """
  handbook:
    sources: [{kind: folder, path: handbook}]
    teams: ["*"]
    model: gpt-4.1-mini
    embedder: local
embedders:
  local: {kind: onnx, path: tiny, max_tokens: 64}
"""
# Not a word of it stands in the document that answers it.
ASKED = "vacation"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """A gateway with the collection `handbook`."""
    folder = tmp_path_factory.mktemp("local-embedder")
    with running_gateway(folder, upstream.base_url, is_started=False) as running:
        write_sentence_model(running.policies / "tiny")
        (running.policies / "handbook").mkdir()
        for name, text in (
            ("free", "holiday leave holidays"),
            ("cars", "parking garage car"),
            ("cash", "refund money"),
        ):
            (running.policies / "handbook" / f"{name}.md").write_text(text)
        knowledge = running.policies / "knowledge.yaml"
        knowledge.write_text(knowledge.read_text().rstrip() + HANDBOOK)
        running.start()
        # Words answer from the first moment; vectors are made beside, and a start does not wait for them.
        until(lambda: running.rows("team = 'gateway' AND endpoint = 'ingest'"), what="the vectors")
        yield running


def found(gateway: RunningGateway, team: str) -> list[str]:
    """The documents that were put into the prompt, best first."""
    reply = gateway.client(team).chat.completions.create(
        model="kb/handbook", messages=[{"role": "user", "content": ASKED}]
    )
    told: dict[str, Any] = (reply.model_extra or {})["gateway"]
    return [source["filename"] for source in told["sources"]]


def test_it_is_found_by_meaning_and_the_question_is_booked_once(gateway: RunningGateway) -> None:
    assert found(gateway, "staff")[0] == "free"
    assert found(gateway, "staff")[0] == "free"
    rows = gateway.rows_of("staff", 3)
    [question] = [row for row in rows if row["endpoint"] == "retrieval"]
    assert question["model"].startswith("local:")
    assert (question["upstream"], question["collections"]) == ("", "handbook")
    assert (question["input_tokens"], question["cost_nano_usd"], question["cost_status"]) == (1, 0, "free")
    assert gateway.counted("gateway_unpriced_total", model=question["model"]) == 0


def test_the_documents_are_booked_to_the_operator(gateway: RunningGateway) -> None:
    rows = gateway.rows("team = 'gateway' AND endpoint = 'ingest'")
    assert sum(row["input_tokens"] for row in rows) >= 8
    assert {(row["cost_nano_usd"], row["cost_status"]) for row in rows} == {(0, "free")}


def test_a_model_that_is_gone_is_refused_with_its_line_and_the_old_one_serves_on(gateway: RunningGateway) -> None:
    knowledge = gateway.policies / "knowledge.yaml"
    good = knowledge.read_text()
    line = good.splitlines().index("  local: {kind: onnx, path: tiny, max_tokens: 64}") + 1
    fault = f"knowledge.yaml:{line}:23: there is no folder {Path(gateway.policies) / 'nowhere'}."
    try:
        knowledge.write_text(good.replace("path: tiny", "path: nowhere"))
        until(lambda: fault in gateway.log(), 3.0, what="the fault's place")
        checked = gateway.cli("policy", "check")
        assert checked.returncode == 78
        assert fault in checked.stderr
        assert found(gateway, "staff-later")[0] == "free"
    finally:
        knowledge.write_text(good)
    assert gateway.cli("policy", "check").returncode == 0
