"""A team runs out of budget."""

import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import A_SECOND, RunningGateway, until

MODEL = "gpt-4.1-mini"
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]


def set_budget(gateway: RunningGateway, team: str, usd: str | None) -> None:
    """And waits until the gateway obeys it, which is promised within a second."""
    gateway.admin("PUT", f"/admin/teams/{team}/budget", {"monthly_budget_usd": usd})
    ratio = ("gateway_budget_used_ratio", frozenset({("team", team)}))
    until(lambda: (ratio in gateway.metrics()) is (usd is not None), 2.0, what="the budget")


def test_a_spent_budget_is_refused_at_once_and_not_retried(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """The official SDK retries a 429 twice with pauses, unless it is told not to."""
    client = gateway.client("spenders", max_retries=2)
    set_budget(gateway, "spenders", "0")
    before = upstream.bill()["count"]
    began = time.monotonic()
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert time.monotonic() - began < 0.4
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert refused.value.response.json()["error"].keys() == {"message", "type", "param", "code"}
    assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
    assert "Team 'spenders' has spent 0" in refused.value.message
    assert "renews on" in refused.value.message
    assert upstream.bill()["count"] == before
    assert gateway.counted("gateway_requests_total", team="spenders", error_type="insufficient_quota") == 1
    assert gateway.rows("team = 'spenders' AND outcome != 'refused'") == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": MODEL, "messages": HELLO, "stream": True}),
        ("/v1/responses", {"model": MODEL, "input": "Hello"}),
        ("/v1/completions", {"model": MODEL, "prompt": "Hello"}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello"}),
        ("/v1/moderations", {"input": "Hello"}),
        ("/v1/brand/new", {"model": MODEL}),
    ],
)
def test_no_route_leads_around_a_spent_budget(
    gateway: RunningGateway, upstream: OfflineServer, path: str, body: dict[str, Any]
) -> None:
    gateway.key("broke")
    set_budget(gateway, "broke", "0")
    before = upstream.bill()["count"]
    reply = gateway.post(path, body, team="broke")
    assert reply.status_code == 429, reply.text
    assert reply.json()["error"]["code"] == "insufficient_quota"
    assert upstream.bill()["count"] == before


def test_a_raised_budget_lets_calls_through_again(gateway: RunningGateway) -> None:
    client = gateway.client("raised")
    set_budget(gateway, "raised", "0")
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model=MODEL, messages=HELLO)
    gateway.admin("PUT", "/admin/teams/raised/budget", {"monthly_budget_usd": "5.00"})

    def is_served() -> bool:
        try:
            client.chat.completions.create(model=MODEL, messages=HELLO, max_completion_tokens=5)
        except openai.RateLimitError:
            return False
        return True

    until(is_served, A_SECOND, what="the raised budget")


def test_many_callers_at_once_cannot_overspend(gateway: RunningGateway) -> None:
    """What is in flight is reserved: the sum of all answers stays under the limit, and nothing stays reserved."""
    client = gateway.client("crowd")
    limit = Decimal("0.0004")
    set_budget(gateway, "crowd", str(limit))

    def one(number: int) -> bool:
        try:
            client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": f"Count to {number % 20}"}], max_completion_tokens=20
            )
        except openai.RateLimitError:
            return False
        return True

    with ThreadPoolExecutor(24) as pool:
        served = sum(pool.map(one, range(96)))
    assert 0 < served < 96
    served_rows = "team = 'crowd' AND outcome = 'ok'"
    rows = until(lambda: rows if len(rows := gateway.rows(served_rows)) >= served else None)
    assert len(rows) == served
    spent = sum(row["cost_nano_usd"] for row in rows)
    assert spent <= limit * 10**9
    ratio = gateway.counted("gateway_budget_used_ratio", team="crowd")
    assert ratio == pytest.approx(float(Decimal(spent) / (limit * 10**9)))
