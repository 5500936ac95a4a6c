"""A batch outlives `kill -9`: every line is answered once in its files, and few are asked twice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.batches.here import AT_ONCE
from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import POLICIES, UPSTREAM_KEY, RunningGateway, running_gateway, until
from tests.journeys.test_batches import counted, ended, line, read, start

LINES = 40
KILLS = 2
ENDPOINT: Any = "/v1/chat/completions"


@pytest.fixture
def provider() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY, tuning_seconds=1.0) as server:
        yield server


def reached(client: openai.OpenAI, batch_id: str, least: int) -> int | None:
    count = counted(client.batches.retrieve(batch_id))[1]
    return count if count >= least else None


def killed(gateway: RunningGateway) -> None:
    gateway.kill()
    gateway.start()


def test_a_killed_gateway_goes_on_with_its_batch(tmp_path: Path, provider: OfflineServer) -> None:
    with running_gateway(tmp_path, provider.base_url) as gateway:
        client = gateway.client()
        provider.lay(delay_ms=150, path=ENDPOINT)
        batch = start(client, [line(f"r{number}") for number in range(LINES)])
        before = 0
        for _ in range(KILLS):
            least = before + 6
            before = until(lambda: reached(client, batch.id, least), 30)  # noqa: B023  # called at once, in this turn
            killed(gateway)
        done = ended(client, batch, 60)
        assert (done.status, counted(done)) == ("completed", (LINES, LINES, 0))
        assert read(client, done.output_file_id).keys() == {f"r{number}" for number in range(LINES)}
        assert LINES <= provider.bill()["count"] <= LINES + KILLS * AT_ONCE


def test_a_batch_at_a_provider_is_begun_once_whoever_is_killed(tmp_path: Path, provider: OfflineServer) -> None:
    """Killed as soon as its caller knows of it: the provider may have heard of it by then, or not yet."""
    models = (POLICIES / "models.yaml").read_text()
    models = models.replace(
        "    api_key: env:UPSTREAM_KEY\n", "    api_key: env:UPSTREAM_KEY\n    supports: {batches: true}\n", 1
    )
    with running_gateway(tmp_path, provider.base_url, files={"models.yaml": models}) as gateway:
        client = gateway.client()
        batch = start(client, [line("a")])
        for _ in range(KILLS):
            killed(gateway)
        done = ended(client, batch, 60)
        assert (done.status, counted(done)) == ("completed", (1, 1, 0))
        with openai.OpenAI(base_url=provider.base_url, api_key=UPSTREAM_KEY) as direct:
            (there,) = list(direct.batches.list())
        rows = until(lambda: gateway.rows("call_id = ?", there.id), 30, what="the row")
        assert [row["endpoint"] for row in rows] == ["batch"]
        assert len(gateway.rows()) == 1
