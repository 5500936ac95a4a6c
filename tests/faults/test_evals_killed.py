"""A run of an eval outlives `kill -9`: every item ends once, and few calls are made twice."""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from gateway.tuning.evals.runner import AT_ONCE
from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

ITEMS = 40
KILLS = 2


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """One that may be killed."""
    with running_gateway(tmp_path_factory.mktemp("evals"), upstream.base_url) as running:
        yield running


def evaluated(client: openai.OpenAI, eval_id: str, run_id: str) -> int:
    return client.evals.runs.retrieve(run_id, eval_id=eval_id).result_counts.total


def reached(client: openai.OpenAI, eval_id: str, run_id: str, least: int) -> int | None:
    count = evaluated(client, eval_id, run_id)
    return count if count >= least else None


def test_a_killed_gateway_goes_on_with_its_run(gateway: RunningGateway, upstream: OfflineServer) -> None:
    client = gateway.client()
    judge: Any = {
        "type": "score_model",
        "name": "judge",
        "model": "gpt-4.1-mini",
        "input": [{"role": "user", "content": "{{item.q}} {{sample.output_text}}"}],
    }
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": {"type": "object"}, "include_sample_schema": True},
        testing_criteria=[judge],
    )
    content: Any = [{"item": {"q": f"Question {number}"}} for number in range(ITEMS)]
    source: Any = {
        "type": "completions",
        "model": "gpt-4.1-mini",
        "source": {"type": "file_content", "content": content},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.q}}"}]},
    }
    upstream.lay(delay_ms=150)
    run_id = client.evals.runs.create(made.id, data_source=source).id
    before = 0
    for _ in range(KILLS):
        least = before + 6
        before = until(lambda: reached(client, made.id, run_id, least), 30)  # noqa: B023  # called at once, in this turn
        gateway.kill()
        gateway.start()
        # What was told as evaluated is evaluated: no restart takes it back.
        assert evaluated(client, made.id, run_id) >= before
    run = until(
        lambda: found if (found := client.evals.runs.retrieve(run_id, eval_id=made.id)).status == "completed" else None,
        60,
    )
    assert (run.result_counts.total, run.result_counts.errored) == (ITEMS, 0)
    (criterion,) = run.per_testing_criteria_results
    assert criterion.passed + criterion.failed == ITEMS
    (used,) = run.per_model_usage
    assert used.invocation_count == 2 * ITEMS
    items = list(client.evals.runs.output_items.list(run_id, eval_id=made.id, limit=7))
    assert [item.datasource_item_id for item in items] == list(range(ITEMS))
    asked = upstream.bill()["count"]
    assert 2 * ITEMS <= asked <= 2 * ITEMS + KILLS * AT_ONCE
    # Each call that was sent is a row of the team's, those that a kill cut off too.
    booked = until(lambda: rows if len(rows := gateway.rows("team = 'support'")) >= asked else None, 10)
    assert {row["attempt"] for row in upstream.bill()["rows"]} <= {row["id"] for row in booked}
    with contextlib.closing(sqlite3.connect(gateway.data / "gateway.db")) as database:
        kept = database.execute("SELECT status, count(*) FROM eval_items GROUP BY status").fetchall()
    assert dict(kept).keys() <= {"pass", "fail"}
