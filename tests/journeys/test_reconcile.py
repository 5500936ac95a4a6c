"""The books beside the provider's own count, asked over its real API on a socket."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import POLICIES, UPSTREAM_KEY, RunningGateway, running_gateway, until

MODELS = (
    (POLICIES / "models.yaml")
    .read_text()
    .replace("    api_key: env:UPSTREAM_KEY\n", "    api_key: env:UPSTREAM_KEY\n    admin_key: env:UPSTREAM_KEY\n", 1)
)
TODAY = datetime.now(UTC).date()
# Two days: the story may run over midnight.
SPAN = ("--since", f"{TODAY}", "--until", f"{TODAY + timedelta(days=2)}")


@pytest.fixture(scope="module")
def upstream() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("reconcile")
    with running_gateway(folder, upstream.base_url, files={"models.yaml": MODELS}) as running:
        client = running.client("red")
        for number in range(3):
            client.chat.completions.create(
                model="gpt-4.1-mini", messages=[{"role": "user", "content": f"Count to {number}"}]
            )
            client.responses.create(model="gpt-4o-mini", input="Hi")
            client.embeddings.create(model="text-embedding-3-small", input=["a b c"])
        until(lambda: len(running.rows()) >= upstream.bill()["count"], what="the last rows")
        yield running


def compared(gateway: RunningGateway, *arguments: str, code: int) -> Any:
    done = gateway.cli("usage", "reconcile", "--upstream", "main", *SPAN, *arguments, "--json")
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_calls_that_all_came_this_way_agree_in_tokens_and_in_dollars(gateway: RunningGateway) -> None:
    found = compared(gateway, code=0)
    assert found["agrees"]
    lines = {line["model"]: line for line in found["lines"]}
    assert lines.keys() == {"gpt-4.1-mini", "gpt-4o-mini", "text-embedding-3-small"}
    assert all(line["ours"] == line["theirs"] and line["ours"]["requests"] == 3 for line in lines.values())
    assert sum(cost["ours_nano_usd"] for cost in found["costs"]) > 0
    path = f"/admin/usage/reconcile?upstream=main&since={SPAN[1]}&until={SPAN[3]}"
    assert gateway.admin("GET", path) == found


def test_a_call_that_went_past_the_gateway_is_found(gateway: RunningGateway, upstream: OfflineServer) -> None:
    httpx2.post(
        f"{upstream.base_url}/chat/completions",
        json={"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]},
        headers={"authorization": f"Bearer {UPSTREAM_KEY}"},
    ).raise_for_status()
    found = compared(gateway, code=1)
    assert [line["model"] for line in found["lines"] if line["status"] == "ours_missing"] == ["gpt-4.1"]
    assert [cost["status"] for cost in found["costs"]] == ["differs"]
    told = gateway.cli("usage", "reconcile", "--upstream", "main", *SPAN)
    assert told.returncode == 1
    assert "did not come through this gateway" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--upstream", "nobody", *SPAN], "There is no upstream 'nobody'"),
        (["--upstream", "closed", *SPAN], "has no admin_key"),
        (["--upstream", "main", "--since", "2026-11-02", "--until", "2026-11-01"], "days after since"),
        (["--upstream", "main", *SPAN, "--tolerance", "2"], "tolerance is 2.0"),
    ],
)
def test_what_cannot_be_compared_is_told(gateway: RunningGateway, arguments: list[str], fault: str) -> None:
    done = gateway.cli("usage", "reconcile", *arguments)
    assert done.returncode == 1
    assert fault in done.stderr
