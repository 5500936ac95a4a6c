"""Every method of the official SDK's files, uploads, fine-tuning, evals and batches is served, in both its majors."""

from collections.abc import Iterator

import pytest

from tests.fakes import sdk_walk
from tests.fakes.offline_server import offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with (
        offline_server(key=UPSTREAM_KEY, tuning_seconds=1.0) as provider,
        running_gateway(tmp_path_factory.mktemp("conformance"), provider.base_url) as running,
    ):
        yield running


def test_every_method_is_called_and_every_reply_is_of_its_official_type(served: RunningGateway) -> None:
    told = sdk_walk.run(served.base_url, served.key("walkers"))
    count = len(told["methods"])
    print(f"openai {told['version']}: {count} methods, {told['calls']} calls, {told['replies']} replies read strictly")
    assert told["faults"] == []
    assert told["not_called"] == []
    assert count >= 40
