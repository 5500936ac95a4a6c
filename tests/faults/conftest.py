"""One gateway and one upstream per file: a fault that leaks into another story would be hard to find."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, free_port, running_gateway


@pytest.fixture(scope="module")
def running_upstream() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture
def upstream(running_upstream: OfflineServer) -> Iterator[OfflineServer]:
    """The file's upstream, without faults and with an empty bill."""
    httpx2.post(f"{running_upstream.url}/__offline/reset").raise_for_status()
    yield running_upstream
    httpx2.post(f"{running_upstream.url}/__offline/reset").raise_for_status()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, running_upstream: OfflineServer) -> Iterator[RunningGateway]:
    environment = {
        "SCRIPTED_URL": f"http://127.0.0.1:{free_port()}/v1",
        "CLOSED_URL": f"http://127.0.0.1:{free_port()}",
    }
    folder = tmp_path_factory.mktemp("faults")
    with running_gateway(folder, running_upstream.base_url, environment=environment) as running:
        yield running
