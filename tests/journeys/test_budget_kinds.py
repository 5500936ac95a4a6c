"""Budgets of organisations, keys and metadata values, and limits, as an operator sets them and callers meet them."""

import json
from typing import Any

import openai
import pytest

from tests.fakes.running_gateway import RunningGateway, until


def told(gateway: RunningGateway, *arguments: str) -> Any:
    """What a command says as JSON."""
    done = gateway.cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ask(client: openai.OpenAI, model: str = "gpt-4.1-mini", **more: object) -> None:
    client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=5, extra_body=more or None
    )


def refused(client: openai.OpenAI, **more: object) -> openai.APIStatusError | None:
    try:
        ask(client, **more)  # type: ignore[arg-type]
    except openai.APIStatusError as fault:
        return fault
    return None


def test_a_budget_of_a_metadata_value_stops_those_calls_alone(gateway: RunningGateway) -> None:
    assert (
        gateway.cli("budgets", "set", "app=mail", "0.000001", "--scope", "metadata", "--window", "day").returncode == 0
    )
    client = gateway.client("metadata-team").with_options(max_retries=0)
    fault = until(lambda: refused(client, metadata={"app": "mail"}), what="the new budget")
    assert (fault.status_code, fault.body["code"]) == (429, "insufficient_quota")  # type: ignore[index]
    assert "app=mail" in fault.message
    ask(client, metadata={"app": "web"})
    ask(client)


def test_a_key_may_have_a_budget_of_its_own_in_a_window_of_its_own_time_zone(gateway: RunningGateway) -> None:
    key = gateway.key("keyed")
    info = next(one for one in gateway.admin("GET", "/admin/keys?team=keyed"))
    arguments = ("--scope", "key", "--window", "day", "--time-zone", "Europe/Berlin")
    assert gateway.cli("budgets", "set", info["id"], "0.000001", *arguments).returncode == 0
    client = gateway.client("keyed", key=key).with_options(max_retries=0)
    fault = until(lambda: refused(client), what="the new budget")
    assert "Europe/Berlin" in fault.message
    ask(gateway.client("keyed", key=gateway.key("keyed", fresh=True)))


def test_a_soft_budget_refuses_nobody_and_is_shown(gateway: RunningGateway) -> None:
    gateway.key("soft")
    assert gateway.cli("budgets", "set", "soft", "0.0000001", "--soft", "--window", "week").returncode == 0
    client = gateway.client("soft").with_options(max_retries=0)
    for _ in range(3):
        ask(client)

    def spent() -> dict[str, object] | None:
        lines = told(gateway, "budgets", "list")
        line = next(line for line in lines if line["name"] == "soft" and line["window"] == "week")
        return line if line["spent_usd"] != "0.00" else None

    line = until(spent, what="the spending")
    assert line["is_hard"] is False
    (usage,) = told(gateway, "usage", "report", "--team", "soft")["lines"]
    assert line["spent_usd"] == usage["cost_usd"]


def test_a_model_without_a_price_is_refused_under_a_hard_budget(gateway: RunningGateway) -> None:
    client = gateway.client("unpriced").with_options(max_retries=0)
    ask(client, model="a-model-without-a-price")
    assert gateway.cli("budgets", "set", "unpriced", "5").returncode == 0

    def no() -> openai.APIStatusError | None:
        return refused(client, model="a-model-without-a-price")

    fault = until(no, what="the new budget")
    assert (fault.status_code, fault.body["code"]) == (403, "model_unpriced")  # type: ignore[index]


def test_requests_a_minute_are_limited_as_openai_tells_it(gateway: RunningGateway) -> None:
    gateway.key("limited")
    assert gateway.cli("limits", "set", "limited", "--requests", "3").returncode == 0
    client = gateway.client("limited").with_options(max_retries=0)
    fault = until(lambda: refused(client), what="the limit")
    assert isinstance(fault, openai.RateLimitError)
    assert fault.body["code"] == "rate_limit_exceeded"  # type: ignore[index]
    assert fault.response.headers["x-ratelimit-limit-requests"] == "3"
    assert int(fault.response.headers["retry-after"]) >= 1
    assert told(gateway, "limits", "list")[0]["requests_per_minute"] == 3
    assert gateway.cli("limits", "set", "limited").returncode == 0
    until(lambda: refused(client) is None or None, what="the lifted limit")


@pytest.mark.parametrize(
    "arguments",
    [
        ("budgets", "set", "x", "1", "--scope", "metadata"),
        ("budgets", "set", "soft", "1", "--time-zone", "Mars/Base"),
        ("budgets", "set", "soft", "1", "--webhook", "ftp://x"),
        ("budgets", "set", "soft", "1", "--threshold", "0"),
        ("limits", "set", "x", "--requests", "0"),
        ("budgets", "lift", "bud_nobody"),
    ],
)
def test_what_cannot_be_a_budget_or_a_limit_is_refused_in_one_line(
    gateway: RunningGateway, arguments: tuple[str, ...]
) -> None:
    gateway.key("soft")
    done = gateway.cli(*arguments)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
