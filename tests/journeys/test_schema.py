"""A gateway whose schema an init job brings: it waits, says so, and serves without being started again."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import pytest

from gateway.db.schema import HEAD
from tests.fakes.offline_server import OfflineServer
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import RunningGateway, running_gateway, until


@pytest.fixture(params=["sqlite", "postgresql"])
def waiting(request: pytest.FixtureRequest, tmp_path: Path, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """Not started yet, with GATEWAY_MIGRATE=false, over an empty database of each kind."""
    environment = {"GATEWAY_MIGRATE": "false"}
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        environment["GATEWAY_DATABASE_URL"] = server.fresh()
    with running_gateway(tmp_path, upstream.base_url, environment=environment, is_started=False) as made:
        yield made


def readiness(gateway: RunningGateway) -> httpx2.Response | None:
    try:
        return httpx2.get(f"{gateway.url}/readyz", timeout=2)
    except httpx2.TransportError:
        return None


def test_a_replica_is_not_ready_until_its_schema_is_there(waiting: RunningGateway) -> None:
    waiting.launch()
    process = waiting.process
    told = until(lambda: readiness(waiting), 20, what="an answer")
    assert told.status_code == 503
    assert "gateway db upgrade" in told.json()["reason"]
    assert httpx2.get(f"{waiting.url}/healthz").status_code == 200
    client = openai.OpenAI(base_url=waiting.base_url, api_key="sk-gw-any", max_retries=0)
    with pytest.raises(openai.InternalServerError) as refused:
        client.models.list()
    assert refused.value.status_code == 503
    assert waiting.cli("db", "check").returncode == 1
    assert json.loads(waiting.cli("db", "check", "--json").stdout) == {"revision": None, "needed": HEAD, "fits": False}
    early = waiting.cli("teams", "list")
    assert early.returncode == 78, "no command migrates on the way"
    assert "gateway db upgrade" in early.stderr
    upgraded = waiting.cli("db", "upgrade", "--json")
    assert json.loads(upgraded.stdout) == {"revision": HEAD, "upgraded": True}
    until(lambda: (now := readiness(waiting)) is not None and now.status_code == 200, 20, what="readiness")
    assert waiting.process is process
    assert process is not None
    assert process.poll() is None
    assert waiting.http.get("/readyz").json() == {"status": "ready"}


def test_one_that_stops_while_it_waits_stops_cleanly(waiting: RunningGateway) -> None:
    waiting.launch()
    until(lambda: readiness(waiting), 20, what="an answer")
    assert waiting.terminate() == 0


def test_a_setting_that_is_neither_yes_nor_no_is_refused(waiting: RunningGateway) -> None:
    told = waiting.cli("serve", "--check", GATEWAY_MIGRATE="maybe")
    assert told.returncode == 78
    assert "GATEWAY_MIGRATE is 'maybe'; it must be true or false." in told.stderr
