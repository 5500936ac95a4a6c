"""Fine-tuned, RAG, direct: which way a call went stands in its reply, and where a line's calls go after its end."""

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.running_gateway import A_SECOND, RunningGateway, until

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]
REFUNDS: list[ChatCompletionMessageParam] = [{"role": "user", "content": "How long do refunds take?"}]
TUNED = "ft:gpt-4o-mini-2024-07-18:acme:tone:Cd34"


def test_auto_goes_to_the_help_centre_for_what_it_holds(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model="auto", messages=REFUNDS)
    assert "5 business days" in (raw.parse().choices[0].message.content or "")
    assert raw.headers["x-gateway-path"] == "rag"
    assert raw.headers["x-gateway-rule"] == "help-centre"
    assert raw.headers["x-gateway-model"] == "gpt-4.1-mini"
    assert raw.headers["x-gateway-collections"] == "help-centre"
    assert raw.headers["x-gateway-knowledge-version"]


def test_auto_goes_direct_for_small_talk(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model="auto", messages=HELLO)
    assert raw.headers["x-gateway-path"] == "direct"
    assert raw.headers["x-gateway-rule"] == "auto-is-a-small-model"
    assert "x-gateway-collections" not in raw.headers


@pytest.mark.parametrize(
    ("name", "tuned"),
    [
        ("tone", TUNED),
        ("tone@champion", TUNED),
        ("tone@v1", "ft:gpt-4o-mini-2024-07-18:acme:tone:Ab12"),
        (TUNED, TUNED),
    ],
)
def test_a_line_is_answered_by_the_tuned_model_it_means(gateway: RunningGateway, name: str, tuned: str) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model=name, messages=HELLO)
    assert (raw.parse().choices[0].message.content or "").startswith("[offline rehearsal] Dear customer")
    assert raw.headers["x-gateway-path"] == "fine_tuned"
    assert raw.headers["x-gateway-model"] == tuned


def test_a_rule_sends_a_task_to_its_line_by_metadata(gateway: RunningGateway) -> None:
    client = gateway.client()
    in_body = client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=HELLO, metadata={"task": "tone"}
    )
    in_header = client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=HELLO, extra_headers={"x-gateway-metadata": "task=tone"}
    )
    for raw in (in_body, in_header):
        assert raw.headers["x-gateway-path"] == "fine_tuned"
        assert raw.headers["x-gateway-line"] == "tone@v2"
    [*_, row] = until(lambda: gateway.rows("rule = 'in-our-tone' AND endpoint = 'chat'"))
    assert (row["path"], row["line"], row["model"]) == ("fine_tuned", "tone", TUNED)


def test_the_responses_api_reaches_a_line_too(gateway: RunningGateway) -> None:
    raw = gateway.client().responses.with_raw_response.create(model="tone", input="Hello there")
    assert raw.headers["x-gateway-path"] == "fine_tuned"
    assert "Dear customer" in raw.parse().output_text


def test_a_line_past_its_shutdown_date_goes_to_its_successor(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model="old-tone", messages=REFUNDS)
    assert "5 business days" in (raw.parse().choices[0].message.content or "")
    assert raw.headers["x-gateway-path"] == "rag"
    assert raw.headers["x-gateway-model"] == "gpt-4.1-mini"
    assert raw.headers["x-gateway-successor-of"] == "old-tone"


def test_a_line_past_its_end_without_a_successor_says_so(gateway: RunningGateway) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        gateway.client().chat.completions.create(model="lonely-tone", messages=HELLO)
    assert "ended on 2020-01-01 and names no successor" in refused.value.message


def test_a_path_that_the_caller_asks_for_is_a_rules_to_grant(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(
        model="gpt-4o", messages=REFUNDS, extra_headers={"x-gateway-path": "rag"}
    )
    assert raw.headers["x-gateway-path"] == "rag"
    assert raw.headers["x-gateway-rule"] == "from-the-help-centre"


def test_a_policy_can_refuse_a_team(gateway: RunningGateway) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        gateway.client("guests").chat.completions.create(model="auto", messages=HELLO)
    assert refused.value.code == "policy_refused"
    assert "Guests may look" in refused.value.message


def test_the_reason_is_told_to_a_key_that_may_ask(gateway: RunningGateway) -> None:
    asks = {"x-gateway-debug": "true"}
    may = gateway.client(key=gateway.key("support", fresh=True, debug=True))
    told = may.chat.completions.with_raw_response.create(model="auto", messages=HELLO, extra_headers=asks)
    assert "rule=auto-is-a-small-model" in told.headers["x-gateway-reason"]
    may_not = gateway.client()
    silent = may_not.chat.completions.with_raw_response.create(model="auto", messages=HELLO, extra_headers=asks)
    assert "x-gateway-reason" not in silent.headers


def test_a_decision_can_be_looked_up_within_a_second(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model="auto", messages=REFUNDS)
    decision_id = raw.headers["x-gateway-decision"]
    headers = {"authorization": f"Bearer {gateway.admin_key}"}
    found = until(
        lambda: (
            reply.json()
            if (reply := gateway.http.get(f"/admin/decisions/{decision_id}", headers=headers)).status_code == 200
            else None
        ),
        A_SECOND,
        what="the decision",
    )
    record = found["record"]
    assert (record["id"], record["team"], record["rule"], record["path"]) == (
        decision_id,
        "support",
        "help-centre",
        "rag",
    )
    assert [step["rule"] for step in found["explained"]["steps"]][-1] == "help-centre"
    assert found["explained"]["steps"][-1]["failed"] is None
    assert gateway.admin("GET", f"/admin/decisions/{record['call_id']}")["record"]["id"] == decision_id
