"""Vector stores with an embedder: their team pays for it, and another embedder's vectors come by themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

QUOKKAS = b"# Quokkas\n\nThe quokka is a small marsupial that lives on Rottnest Island.\n"
EMBEDDERS = """
embedders:
  small: {upstream: main, model: text-embedding-3-small}
  large: {upstream: main, model: text-embedding-3-large}
"""


@pytest.fixture
def gateway(tmp_path: Path, upstream: OfflineServer) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path, upstream.base_url) as running:
        yield running


def write(gateway: RunningGateway, embedder: str) -> None:
    path = gateway.policies / "knowledge.yaml"
    kept = [line for line in path.read_text().partition("embedders:")[0].splitlines() if "vector_stores" not in line]
    path.write_text("\n".join([f"vector_stores: {{embedder: {embedder}, model: gpt-4.1-mini}}", *kept]) + EMBEDDERS)


def embedded(gateway: RunningGateway, model: str) -> list[str]:
    """The teams that paid for documents that this model has embedded."""
    rows = gateway.rows("endpoint = 'ingest' AND model = ?", model)
    return [row["team"] for row in rows]


def test_a_team_pays_for_its_documents_and_gets_other_vectors_when_the_embedder_changes(
    gateway: RunningGateway,
) -> None:
    write(gateway, "small")
    client = gateway.client("zoo")
    store = client.vector_stores.create(name="animals")
    until(lambda: gateway.counted("gateway_policy_reloads_total", result="ok") > 1, what="the new policy")
    inside = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("quokka.md", QUOKKAS))
    assert inside.status == "completed"
    assert until(lambda: embedded(gateway, "text-embedding-3-small"), what="the books") == ["zoo"]
    write(gateway, "large")
    assert until(lambda: embedded(gateway, "text-embedding-3-large"), 20.0, what="the other vectors") == ["zoo"]
    found = client.vector_stores.search(store.id, query="Where does the quokka live?").data
    assert [hit.filename for hit in found] == ["quokka.md"]
