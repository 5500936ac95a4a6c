"""From a reply to the reason for it: what stands in the record, and that it is explained the same for ever."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import POLICIES, ROOT, RunningGateway, running_gateway, until

KIND = "You write replies for the customer care of Larkfield & Sons. Warm, brief, first names, no apologies twice."
# Odd enough to be found wherever it might have been written down.
ODD = "quixotropic"
RULES = """
rules:
  - {name: closed-to-guests, when: {team: [guests]}, refuse: Guests may look and not ask.}
  - {name: from-docs, when: {metadata: {task: docs}}, use: {path: rag, collections: [help-centre]}}
  - name: tone-of-support
    when: {model: [auto], task: {line: tone, score_over: 0.5}}
    use:
      path: fine_tuned
      line: tone
      fallback: [{path: rag, collections: [help-centre], model: gpt-4.1-mini}]
      shadow: {path: direct, model: gpt-4o-mini, monthly_budget_usd: 5}
  - name: held
    when: {model: [auto], knowledge: {collections: [help-centre, board-minutes], score_over: 0.5}}
    use: {path: rag, collections: [help-centre, board-minutes], model: gpt-4.1-mini}
  - name: everything-else
    when: {model: [auto]}
    use:
      path: direct
      targets: [{model: gpt-4.1-mini, weight: 1}, {model: gpt-4o-mini, weight: 1}]
      sticky: user
      fallback: [{path: direct, model: gpt-4.1-nano}]
  - {name: by-name, use: {path: direct}}
"""
# Nano-dollars a token, from the providers' price pages and the tests' own: input, output.
RATES = {
    "gpt-4.1-mini": (400, 1600),
    "gpt-4o-mini": (150, 600),
    "gpt-4.1-nano": (100, 400),
    "ft:gpt-4o-mini-2024-07-18:acme:tone:Cd34": (300, 1200),
}
Asked = dict[str, str]
TUNED: Asked = {"text": f"Please answer this complaint: my {ODD} order came two days late.", "system": KIND}
HELD: Asked = {"text": f"How long do refunds take? {ODD}", "user": "u-1"}
DIRECT: Asked = {"text": f"Good morning, {ODD}!", "user": "u-1"}
STORIES = {"tone-of-support": TUNED, "held": HELD, "everything-else": DIRECT}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """A gateway whose rules ask for both signals, split, fall back and copy."""
    models = (POLICIES / "models.yaml").read_text()
    models = models.replace("shutdown_date: 2098-12-31", "shutdown_date: 2098-12-31\n        training_file: tone.jsonl")
    examples = (ROOT / "policies" / "examples" / "support-tone.jsonl").read_text()
    files = {"routing.yaml": RULES, "models.yaml": models, "tone.jsonl": examples}
    with running_gateway(tmp_path_factory.mktemp("record"), upstream.base_url, files=files) as running:
        yield running


def decided(gateway: RunningGateway, asked: Asked, team: str = "support") -> str:
    """The id of the decision on a call, from its reply."""
    system = [{"role": "system", "content": asked["system"]}] if "system" in asked else []
    body: Any = {"messages": [*system, {"role": "user", "content": asked["text"]}]}
    if "user" in asked:
        body["user"] = asked["user"]
    raw = gateway.client(team).chat.completions.with_raw_response.create(model="auto", **body)
    return raw.headers["x-gateway-decision"]


def by_command(gateway: RunningGateway, decision_id: str) -> Any:
    done = gateway.cli("policy", "explain", "--decision", decision_id, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("rule", "path"), [("tone-of-support", "fine_tuned"), ("held", "rag"), ("everything-else", "direct")]
)
def test_the_record_holds_all_that_the_decision_stood_on(gateway: RunningGateway, rule: str, path: str) -> None:
    """Nobody asked for the path: the evidence did."""
    found = gateway.decision(decided(gateway, STORIES[rule]))
    record = found["record"]
    assert (record["rule"], record["path"], record["team"], record["asked_model"]) == (rule, path, "support", "auto")
    assert record["key_name"] == "tests"
    assert (0 <= record["draw"] < 1, 0 <= record["drawn"] < 1, record["budget_used"]) == (True, True, None)
    looked_up = [name for name, _ in record["signals"]]
    assert looked_up == (["task:tone"] if path == "fine_tuned" else ["task:tone", "knowledge:help-centre"])
    for (name, score), (of, parts) in zip(record["signals"], record["contributions"], strict=True):
        assert name == of
        logit = max(-30.0, min(30.0, sum(value for _, value in parts)))
        assert score == pytest.approx(1 / (1 + 2.718281828459045**-logit), abs=1e-6)
    assert record["tasks"][0]["evidence"]
    assert bool(record["knowledge"]) is (path != "fine_tuned")
    assert not any(signal["hits"] for _, signal in record["knowledge"])
    assert record["policy_hash"] == found["explained"]["policy_hash"]
    assert gateway.counted("gateway_policy_info", hash=record["policy_hash"]) == 1


@pytest.mark.parametrize(
    ("rule", "roles"),
    [
        ("tone-of-support", ["chosen", "fallback", "shadow"]),
        ("held", ["chosen"]),
        ("everything-else", ["chosen", "fallback", "other"]),
    ],
)
def test_every_arm_stands_there_with_what_it_was_expected_to_cost(
    gateway: RunningGateway, rule: str, roles: list[str]
) -> None:
    record = gateway.decision(decided(gateway, STORIES[rule]))["record"]
    assert [cost["role"] for cost in record["arms"]] == roles
    for cost in record["arms"]:
        rate_in, rate_out = RATES[cost["arm"]["model"]]
        assert cost["nano_usd"] == cost["input_tokens"] * rate_in + cost["output_tokens"] * rate_out
        assert cost["input_tokens"] > 0
        assert cost["output_tokens"] > 0
    plain = [cost["input_tokens"] for cost in record["arms"] if cost["arm"]["path"] != "rag"]
    sourced = [cost["input_tokens"] for cost in record["arms"] if cost["arm"]["path"] == "rag"]
    assert len(set(plain)) <= 1
    assert not plain or not sourced or min(sourced) > max(plain)


@pytest.mark.parametrize("rule", STORIES)
def test_a_written_call_is_explained_as_the_real_one_was(gateway: RunningGateway, rule: str) -> None:
    found = gateway.decision(decided(gateway, STORIES[rule]))
    entry = {"team": "support", "key": "tests", "model": "auto", **STORIES[rule]}
    told = gateway.admin("POST", "/admin/explain", entry)
    assert told | {"decision": ""} == found["explained"] | {"decision": ""}
    steps = told["steps"]
    assert [step["held"] for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1]["rule"] == rule


def test_a_refusal_names_its_decision_too(gateway: RunningGateway) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        gateway.client("guests").chat.completions.create(model="auto", messages=[{"role": "user", "content": ODD}])
    found = gateway.decision(refused.value.response.headers["x-gateway-decision"])
    record, explained = found["record"], found["explained"]
    assert (record["rule"], record["path"], record["arms"]) == ("closed-to-guests", "refused", [])
    assert record["refusal"] == explained["refusal"] == "Guests may look and not ask."
    told = gateway.admin("POST", "/admin/explain", {"team": "guests", "key": "tests", "text": ODD})
    assert told | {"decision": ""} == explained | {"decision": ""}
    assert by_command(gateway, record["id"])["explained"] == explained


def test_a_call_that_failed_upstream_names_its_decision_too(gateway: RunningGateway) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        gateway.client().chat.completions.create(model="closed-model", messages=[{"role": "user", "content": "Hello"}])
    record = gateway.decision(failed.value.response.headers["x-gateway-decision"])["record"]
    assert (record["rule"], record["upstream"]) == ("by-name", "closed")


def test_a_call_that_no_rule_could_serve_has_no_decision(gateway: RunningGateway) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        gateway.client().chat.completions.create(model="kb/nothing", messages=[{"role": "user", "content": "Hello"}])
    assert "x-gateway-decision" not in missing.value.response.headers


def test_the_command_says_the_same(gateway: RunningGateway) -> None:
    found = gateway.decision(decided(gateway, TUNED))
    told = by_command(gateway, found["record"]["id"])
    assert (told["record"], told["explained"]) == (found["record"], found["explained"])
    assert by_command(gateway, found["record"]["call_id"]) == told
    people = gateway.cli("policy", "explain", "--decision", found["record"]["id"])
    assert people.returncode == 0
    for word in ("tone-of-support", "task tone", "shadow", "copied to direct:gpt-4o-mini", "0.00"):
        assert word in people.stdout
    unknown = gateway.cli("policy", "explain", "--decision", "dec_of_nobody")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (1, 1)


def test_a_collection_that_a_team_may_not_read_is_never_weighed_found_or_named(gateway: RunningGateway) -> None:
    question = {"text": "What of the merger with Zephyrine?"}
    secret = gateway.decision(decided(gateway, question, "board"))["record"]
    assert [name for name, _ in secret["signals"]][1:] == ["knowledge:help-centre", "knowledge:board-minutes"]
    assert secret["rule"] == "held"
    found = gateway.decision(decided(gateway, question))
    assert found["record"]["rule"] == "everything-else"
    told = gateway.admin("POST", "/admin/explain", {"team": "support", "key": "tests", **question})
    for signals in (found["explained"]["signals"], told["signals"]):
        assert [signal["of"] for signal in signals if signal["kind"] == "knowledge"] == ["help-centre"]
    ((_, weighed),) = found["record"]["knowledge"]
    assert [name for name, _ in weighed["evidence"]] == ["help-centre"]
    raw = gateway.client().chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": "How long do refunds take?"}]
    )
    assert raw.headers["x-gateway-path"] == "rag"
    assert raw.headers["x-gateway-collections"] == "help-centre"
    assert "board" not in raw.text + str(raw.headers)


@pytest.mark.parametrize("collection", ["board-minutes", "nothing"])
def test_a_rule_without_a_model_does_not_betray_which_collections_there_are(
    gateway: RunningGateway, collection: str
) -> None:
    given: Any = {"messages": [{"role": "user", "content": "How long do refunds take?"}], "metadata": {"task": "docs"}}
    assert gateway.client("board").chat.completions.create(model="kb/board-minutes", **given).choices
    with pytest.raises(openai.NotFoundError) as missing:
        gateway.client().chat.completions.create(model=f"kb/{collection}", **given)
    assert "does not exist or you do not have access" in missing.value.message


def test_no_word_of_a_prompt_is_written_down(gateway: RunningGateway) -> None:
    found = [gateway.decision(decided(gateway, asked)) for asked in STORIES.values()]
    assert ODD not in json.dumps(found)
    assert "complaint" not in json.dumps(found)
    holding = [
        path
        for path in gateway.data.rglob("*")
        if path.is_file() and path.name != "knowledge.db" and ODD.encode() in path.read_bytes()
    ]
    assert holding == []
    assert ODD not in gateway.log()


def test_an_old_decision_is_explained_under_the_policy_that_made_it(gateway: RunningGateway) -> None:
    """The last story of the file: it changes rules, weights and who may read what."""
    before = {rule: gateway.decision(decided(gateway, asked)) for rule, asked in STORIES.items()}
    with pytest.raises(openai.PermissionDeniedError) as refused:
        gateway.client("guests").chat.completions.create(model="auto", messages=[{"role": "user", "content": ODD}])
    before["closed-to-guests"] = gateway.decision(refused.value.response.headers["x-gateway-decision"])
    knowledge = gateway.policies / "knowledge.yaml"
    knowledge.write_text(knowledge.read_text().replace('teams: ["*"]', "teams: [board]"))
    rules = "rules:\n  - {name: one-for-all, use: {path: direct, model: gpt-4.1-nano}}\n"
    (gateway.policies / "routing.yaml").write_text(rules)
    until(lambda: gateway.admin("POST", "/admin/explain", {"team": "guests"})["rule"] == "one-for-all")
    after = gateway.decision(decided(gateway, TUNED))
    assert after["record"]["rule"] == "one-for-all"
    hashes = {found["record"]["policy_hash"] for found in before.values()}
    assert after["record"]["policy_hash"] not in hashes
    assert len(hashes) == 1
    for found in before.values():
        again = gateway.decision(found["record"]["id"])
        assert again == found
        assert again["explained"]["rule"] == found["record"]["rule"]
    assert by_command(gateway, before["held"]["record"]["id"])["explained"] == before["held"]["explained"]
