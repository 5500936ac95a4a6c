"""A run of an eval while its database goes away: what was answered is kept, and nothing is asked twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.database_proxy import DatabaseProxy, database_proxy
from tests.fakes.offline_server import OfflineServer
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

ITEMS = 60


@pytest.fixture
def door(postgres: Postgres) -> Iterator[DatabaseProxy]:
    with database_proxy(postgres.folder) as proxy:
        yield proxy


@pytest.fixture
def replicas(
    tmp_path: Path, upstream: OfflineServer, postgres: Postgres, door: DatabaseProxy
) -> Iterator[tuple[RunningGateway, RunningGateway]]:
    environment = {
        "GATEWAY_DATABASE_URL": door.url(postgres.fresh()),
        "GATEWAY_KEY_PEPPER": "a pepper that replicas share",
    }
    with (
        running_gateway(tmp_path / "one", upstream.base_url, environment=environment) as one,
        running_gateway(tmp_path / "two", upstream.base_url, environment=environment) as two,
    ):
        yield one, two


def test_a_run_waits_for_its_database_and_loses_nothing(
    replicas: tuple[RunningGateway, RunningGateway], upstream: OfflineServer, door: DatabaseProxy
) -> None:
    client = replicas[0].client()
    check: Any = {
        "type": "string_check",
        "name": "echo",
        "input": "{{sample.output_text}}",
        "reference": "{{item.q}}",
        "operation": "like",
    }
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
        testing_criteria=[check],
    )
    content: Any = [{"item": {"q": f"Question {number}"}} for number in range(ITEMS)]
    source: Any = {
        "type": "completions",
        "model": "gpt-4.1-mini",
        "source": {"type": "file_content", "content": content},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.q}}"}]},
    }
    upstream.lay(delay_ms=200)
    run_id = client.evals.runs.create(made.id, data_source=source).id
    until(lambda: client.evals.runs.retrieve(run_id, eval_id=made.id).result_counts.total >= 8, 30)
    door.turn("stop")
    headers = {"authorization": f"Bearer {replicas[0].key()}"}
    told = until(
        lambda: reply if (reply := replicas[0].http.get("/v1/evals", headers=headers)).status_code == 503 else None, 10
    )
    assert "evals" in told.json()["error"]["message"]
    door.turn("pass")

    def ended() -> Any:
        reply = replicas[0].http.get(f"/v1/evals/{made.id}/runs/{run_id}", headers=headers)
        return reply.json() if reply.status_code == 200 and reply.json()["status"] == "completed" else None

    run = until(ended, 60)
    assert run["result_counts"] == {"total": ITEMS, "passed": ITEMS, "failed": 0, "errored": 0}
    assert run["per_model_usage"][0]["invocation_count"] == ITEMS
    assert upstream.bill()["count"] == ITEMS
