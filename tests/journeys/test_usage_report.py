"""The books, the provider's bill and the metrics say the same, to the token and the nano-dollar."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway, until

# Nano-dollars per token, from the providers' price pages: input, output.
RATES = {
    "gpt-4.1-mini": (400, 1600),
    "gpt-4o-mini": (150, 600),
    "ft:gpt-4o-mini-2024-07-18:acme:tone:Cd34": (300, 1200),
    "text-embedding-3-small": (20, 0),
}
TEAMS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def upstream() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """A gateway whose books hold this story and nothing else."""
    with running_gateway(tmp_path_factory.mktemp("report"), upstream.base_url) as running:
        for number, team in enumerate(TEAMS, 1):
            a_day_of(team, number, running)
        until(lambda: len(running.rows()) >= upstream.bill()["count"], what="the last rows")
        yield running


def a_day_of(team: str, number: int, gateway: RunningGateway) -> None:
    """Calls of all kinds, more of them the higher the number."""
    client = gateway.client(team)
    for turn in range(2 * number):
        hello: list[ChatCompletionMessageParam] = [{"role": "user", "content": f"Count to {7 * number + turn}"}]
        client.chat.completions.create(model="gpt-4.1-mini", messages=hello)
        list(client.chat.completions.create(model="gpt-4o-mini", messages=hello, stream=True))
        list(
            client.chat.completions.create(
                model="tone", messages=hello, stream=True, stream_options={"include_usage": True}
            )
        )
        client.chat.completions.create(
            model="auto", messages=[{"role": "user", "content": "How long do refunds take?"}]
        )
        client.responses.create(model="gpt-4.1-mini", input=f"Count to {turn}")
        with client.responses.stream(model="gpt-4.1-mini", input="Count to 9") as stream:
            stream.get_final_response()
        client.completions.create(model="gpt-4o-mini", prompt="Once upon")
        client.embeddings.create(model="text-embedding-3-small", input=["a b c", "d"])
        client.chat.completions.create(model="gpt-4.1-mini", messages=hello, n=3)
        with suppress(openai.NotFoundError):
            client.chat.completions.create(model="kb/nothing", messages=hello)


def report(gateway: RunningGateway, *arguments: str) -> dict[str, Any]:
    done = gateway.cli("usage", "report", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def billed(gateway: RunningGateway, upstream: OfflineServer) -> dict[str, tuple[int, int, int]]:
    """The provider's own count by team: tokens in, tokens out, nano-dollars."""
    team_of = {row["id"]: row["team"] for row in gateway.rows()}
    sums: dict[str, tuple[int, int, int]] = {}
    for row in upstream.bill()["rows"]:
        rate_in, rate_out = RATES[row["model"]]
        tokens_in, tokens_out = row["prompt_tokens"], row["completion_tokens"]
        team = team_of[row["attempt"]]
        before = sums.get(team, (0, 0, 0))
        cost = tokens_in * rate_in + tokens_out * rate_out
        sums[team] = (before[0] + tokens_in, before[1] + tokens_out, before[2] + cost)
    return sums


def test_the_report_equals_the_providers_bill_for_each_team(gateway: RunningGateway, upstream: OfflineServer) -> None:
    found = report(gateway)
    ours = {
        line["group"]["team"]: (line["prompt_tokens"], line["completion_tokens"], line["cost_nano_usd"])
        for line in found["lines"]
    }
    assert ours == billed(gateway, upstream)
    assert ours.keys() == set(TEAMS)
    assert found["total"]["cost_nano_usd"] == sum(cost for _, _, cost in ours.values())
    assert found["total"]["unpriced"] == found["total"]["estimated"] == 0


def test_every_billed_request_is_exactly_one_row(gateway: RunningGateway, upstream: OfflineServer) -> None:
    attempts = [row["attempt"] for row in upstream.bill()["rows"]]
    ids = [row["id"] for row in gateway.rows()]
    assert sorted(attempts) == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_the_metrics_equal_the_report(gateway: RunningGateway) -> None:
    """Token counts exactly; money to what a float can say of nano-dollars."""
    for line in report(gateway, "--by", "team,path,model")["lines"]:
        labels = line["group"]
        for kind in ("input", "cached", "output", "reasoning"):
            assert gateway.counted("gateway_tokens_total", kind=kind, **labels) == line["tokens"][kind]
        assert round(gateway.counted("gateway_cost_usd_total", **labels) * 1e9) == line["cost_nano_usd"]
        served = gateway.counted("gateway_requests_total", error_type="none", **labels)
        assert served == line["calls"] == line["attempts"]


def test_a_refused_call_is_counted_and_costs_nothing(gateway: RunningGateway) -> None:
    for number, team in enumerate(TEAMS, 1):
        refused = gateway.counted("gateway_requests_total", team=team, error_type="model_not_found")
        assert refused == 2 * number


@pytest.mark.parametrize(
    "by", ["model", "path", "key_id", "line", "rule", "upstream", "endpoint", "collections", "day"]
)
def test_every_grouping_adds_up_to_the_same_total(gateway: RunningGateway, by: str) -> None:
    """Asked of /admin, whose answer is the command's own."""
    whole = gateway.admin("GET", "/admin/usage?by=team")
    parts = gateway.admin("GET", f"/admin/usage?by={by}")
    assert parts["total"] == whole["total"]
    for field in ("calls", "attempts", "total_tokens", "cost_nano_usd"):
        assert sum(line[field] for line in parts["lines"]) == whole["total"][field]


def test_the_command_and_its_rest_twin_agree(gateway: RunningGateway) -> None:
    assert report(gateway, "--by", "team,model") == gateway.admin("GET", "/admin/usage?by=team,model")


def test_a_span_of_time_holds_what_happened_in_it(gateway: RunningGateway) -> None:
    assert gateway.admin("GET", "/admin/usage?until=2020-01-01")["total"]["calls"] == 0
    assert gateway.admin("GET", "/admin/usage?since=2020-01-01")["lines"]
    one = gateway.admin("GET", "/admin/usage?team=red")
    assert [line["group"]["team"] for line in one["lines"]] == ["red"]


def test_a_report_for_people_names_teams_and_dollars(gateway: RunningGateway) -> None:
    done = gateway.cli("usage", "report")
    assert done.returncode == 0
    for team in (*TEAMS, "total"):
        assert team in done.stdout


def test_a_report_by_what_is_no_group_is_refused(gateway: RunningGateway) -> None:
    done = gateway.cli("usage", "report", "--by", "colour")
    assert done.returncode == 1
    assert "'colour' is not a group" in done.stderr


def test_a_restart_keeps_the_books(gateway: RunningGateway, upstream: OfflineServer) -> None:
    before = report(gateway)
    assert gateway.terminate() == 0
    gateway.start()
    assert report(gateway) == before
    assert gateway.client("red").models.list().data
