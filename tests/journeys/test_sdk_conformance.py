"""Every method of the official SDK's files, uploads, fine-tuning, evals and batches is served, in both its majors."""

import warnings
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes import sdk_walk
from tests.fakes.offline_server import offline_server
from tests.fakes.running_gateway import ROOT, UPSTREAM_KEY, RunningGateway, running_gateway
from tests.fakes.sdk_two import python_with_sdk_two, walked

# Of both majors today; more is welcome, less would mean that the walk does not see what there is.
LEAST_METHODS = 42
KEPT = ROOT / ".pytest_cache"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with (
        offline_server(key=UPSTREAM_KEY, tuning_seconds=1.0) as provider,
        running_gateway(tmp_path_factory.mktemp("conformance"), provider.base_url) as running,
    ):
        yield running


def told(report: dict[str, Any], major: str) -> None:
    count = len(report["methods"])
    print(f"\nopenai {report['version']}: {count - len(report['not_called'])} of {count} methods called, ", end="")
    print(f"{report['calls']} calls, {report['replies']} replies read strictly, {len(report['faults'])} faults")
    assert report["version"].split(".")[0] == major
    assert report["faults"] == []
    assert report["not_called"] == []
    assert count >= LEAST_METHODS


def test_every_method_is_called_and_every_reply_is_of_its_official_type(served: RunningGateway) -> None:
    with warnings.catch_warnings():
        # Of methods that the SDK calls deprecated; they are served as long as it has them.
        warnings.simplefilter("ignore", DeprecationWarning)
        told(sdk_walk.run(served.base_url, served.key("walkers")), "3")


def test_the_major_before_is_served_alike(served: RunningGateway) -> None:
    python = python_with_sdk_two(KEPT)
    if isinstance(python, str):
        pytest.skip(f"openai 2.x cannot be installed here: {python}")
    told(walked(python, served.base_url, served.key("elders")), "2")


def test_a_walk_that_leaves_a_method_out_says_so(served: RunningGateway) -> None:
    """What is called is counted, not claimed."""
    walk = sdk_walk.Walk(served.base_url, served.key("idlers"))
    walk.call("files.list")
    left = sdk_walk.methods(walk.client) - walk.called.keys()
    assert len(left) >= LEAST_METHODS - 1
    assert "files.list" not in left


def test_a_reply_that_is_not_of_its_type_is_a_fault(served: RunningGateway) -> None:
    """The SDK itself would take it."""
    walk = sdk_walk.Walk(served.base_url, served.key("idlers"))
    file = walk.call("files.create", file=("a.jsonl", sdk_walk.chats()), purpose="fine-tune")
    wrong = file.to_json().replace('"bytes": ', '"bytes": "').replace(',\n  "created_at"', '",\n  "created_at"')
    walk.read_strictly("files.retrieve", "GET /v1/files/x", wrong.encode(), file, is_list=False)
    assert len(walk.faults) == 1
    assert "bytes" in walk.faults[0]
    walk.refused(openai.AuthenticationError, "files.retrieve", "file-sw" + "0" * 32)
    assert "refused as NotFoundError" in walk.faults[1]
