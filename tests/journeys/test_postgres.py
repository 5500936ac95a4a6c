"""The gateway with its books in PostgreSQL, as production has them."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Count to 5"}]}


@pytest.fixture
def gateway(tmp_path: Path, upstream: OfflineServer, postgres: Postgres) -> Iterator[RunningGateway]:
    environment = {"GATEWAY_DATABASE_URL": postgres.fresh()}
    with running_gateway(tmp_path / "g", upstream.base_url, environment=environment) as running:
        yield running


def test_calls_are_booked_reported_and_survive_a_kill(gateway: RunningGateway, upstream: OfflineServer) -> None:
    before = len(upstream.bill()["rows"])
    client = gateway.client("red")
    for _ in range(5):
        client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "Count to 5"}])
    hostile = gateway.post(
        "/v1/chat/completions", ASKED | {"model": "gpt-4o-mini", "metadata": {"a\x00": "b\x00\u202e"}}, team="red"
    )
    assert hostile.status_code == 200

    async def burst() -> None:
        """A last volley, some of it in flight when the gateway dies."""
        async with gateway.async_client("red") as caller:
            work = [
                caller.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
                for _ in range(40)
            ]
            tasks = [asyncio.create_task(one) for one in work]
            await asyncio.sleep(0.08)
            gateway.kill()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(burst())
    gateway.start()
    bill = until(lambda: upstream.bill()["rows"][before:])
    billed_tokens = sum(row["prompt_tokens"] for row in bill if row["model"] == "gpt-4.1-mini")

    def reported() -> Any:
        usage = gateway.admin("GET", "/admin/usage?by=model")
        lines = {line["group"]["model"]: line for line in usage["lines"]}
        return (
            usage["total"]["attempts"] >= len(bill)
            and lines["gpt-4.1-mini"]["prompt_tokens"] == billed_tokens
            and lines["gpt-4.1-mini"]["cost_nano_usd"] == billed_tokens * 400 + 5 * 9 * 1600
        )

    until(reported, 5, what="a row for each billed call")
    done = gateway.cli("usage", "report", "--json")
    assert json.loads(done.stdout) == gateway.admin("GET", "/admin/usage?by=team")
    assert gateway.cli("db", "check").returncode == 0
    assert gateway.terminate() == 0
