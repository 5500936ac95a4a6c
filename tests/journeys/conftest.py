"""One gateway and one offline upstream for all stories that leave them as they were."""

from collections.abc import Iterator

import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, free_port, running_gateway


@pytest.fixture(scope="session")
def upstream() -> Iterator[OfflineServer]:
    """The provider: it takes the operator's key and no other."""
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """The gateway in front of it."""
    scripted_url = f"http://127.0.0.1:{free_port()}/v1"
    environment = {"SCRIPTED_URL": scripted_url, "GATEWAY_MAX_BODY_BYTES": str(2 * 1024 * 1024)}
    with running_gateway(tmp_path_factory.mktemp("gateway"), upstream.base_url, environment=environment) as running:
        yield running
