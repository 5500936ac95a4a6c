"""Weighted targets and canaries: who stays where, how many go where, and that a trial costs nobody a call."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway

ONE, OTHER = "gpt-4.1-mini", "gpt-4o-mini"
TUNED = "ft:gpt-4o-mini-2024-07-18:acme:tone:Cd34"
SPLIT = f"targets: [{{model: {ONE}, weight: 3}}, {{model: {OTHER}, weight: 1}}]"
STICKY = ("user", "conversation", "team", "key", "metadata.customer", "header.x-tenant")
RULES = "rules:\n" + "".join(
    f"  - {{name: by-{field.rpartition('.')[2]}, when: {{metadata: {{split: {field}}}}}, "
    f"use: {{path: direct, {SPLIT}, sticky: {field}}}}}\n"
    for field in STICKY
)
RULES += f"""
  - {{name: by-chance, when: {{metadata: {{split: chance}}}}, use: {{path: direct, {SPLIT}}}}}
  - name: canary
    when: {{metadata: {{split: canary}}}}
    use: {{path: direct, model: {ONE}, canary: {{model: {OTHER}, share: 0.3}}, sticky: user}}
  - name: canary-that-ended
    when: {{metadata: {{split: ended}}}}
    use: {{path: fine_tuned, line: tone, canary: {{line: lonely-tone, share: 0.5}}}}
  - {{name: rest, use: {{path: direct}}}}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[OfflineServer]:
    """An upstream of its own: its faults and its bill are a part of the story."""
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    files = {"routing.yaml": RULES}
    with running_gateway(tmp_path_factory.mktemp("splits"), upstream.base_url, files=files) as running:
        yield running


class Asker:
    """One client; each call gives the model that answered it."""

    def __init__(self, gateway: RunningGateway, split: str, team: str = "support") -> None:
        self._client = gateway.client(team)
        self._split = split

    def model(self, *texts: str, **fields: Any) -> str:
        said: list[Any] = [
            {"role": "assistant" if place % 2 else "user", "content": text}
            for place, text in enumerate(texts or ("Hi",))
        ]
        system: list[Any] = [{"role": "system", "content": fields.pop("system")}] if "system" in fields else []
        metadata = {"split": self._split, **fields.pop("metadata", {})}
        raw = self._client.chat.completions.with_raw_response.create(
            model="auto", messages=[*system, *said], metadata=metadata, **fields
        )
        return raw.headers["x-gateway-model"]


def is_about_a_quarter(models: list[str]) -> bool:
    """The share of the lighter target among 200 draws; so far off by chance once in a million times."""
    counted = Counter(models)
    assert counted.keys() <= {ONE, OTHER}
    return 0.10 < counted[OTHER] / len(models) < 0.40


def test_a_user_stays_on_one_target_and_users_are_spread_by_weight(gateway: RunningGateway) -> None:
    asker = Asker(gateway, "user")
    first = [asker.model(user=f"user-{n}") for n in range(200)]
    assert is_about_a_quarter(first)
    assert [asker.model("Something else", user=f"user-{n}") for n in range(60)] == first[:60]
    assert [asker.model(safety_identifier=f"user-{n}") for n in range(20)] == first[:20]


def test_a_conversation_stays_on_its_target_while_it_grows(gateway: RunningGateway) -> None:
    asker = Asker(gateway, "conversation")
    first = [asker.model(f"Question {n}", system="Be kind.") for n in range(200)]
    assert is_about_a_quarter(first)
    for n in range(30):
        said = [f"Question {n}"]
        for turn in range(3):
            said += [f"Answer {turn}", f"And then {turn}?"]
            assert asker.model(*said, system="Be kind.") == first[n]
    others = [asker.model(f"Question {n}", system="Be brief.") for n in range(60)]
    assert others != first[:60], "another system prompt is another conversation"


def test_a_conversation_with_an_id_stays_whatever_is_said(gateway: RunningGateway) -> None:
    def model(conversation: str, text: str) -> str:
        body = {"model": "auto", "input": text, "conversation": conversation, "metadata": {"split": "conversation"}}
        return gateway.post("/v1/responses", body).headers["x-gateway-model"]

    first = [model(f"conv_{n}", "Hello") for n in range(40)]
    assert set(first) == {ONE, OTHER}
    assert [model(f"conv_{n}", f"Another turn {n}") for n in range(40)] == first


def test_a_team_stays_on_one_target(gateway: RunningGateway) -> None:
    for team in ("red", "green", "blue"):
        asker = Asker(gateway, "team", team)
        assert len({asker.model(f"Question {n}", user=f"u{n}") for n in range(15)}) == 1


def test_a_key_stays_on_one_target(gateway: RunningGateway) -> None:
    asker = Asker(gateway, "key")
    assert len({asker.model(f"Question {n}") for n in range(15)}) == 1


def test_a_field_of_the_metadata_or_a_header_can_be_what_sticks(gateway: RunningGateway) -> None:
    by_field, by_header = Asker(gateway, "metadata.customer"), Asker(gateway, "header.x-tenant")
    first = [by_field.model(metadata={"customer": f"c-{n}"}) for n in range(200)]
    assert is_about_a_quarter(first)
    assert [by_field.model("Other words", metadata={"customer": f"c-{n}"}) for n in range(40)] == first[:40]
    tenants = [by_header.model(extra_headers={"x-tenant": f"t-{n}"}) for n in range(40)]
    assert [by_header.model("Other", extra_headers={"x-tenant": f"t-{n}"}) for n in range(40)] == tenants
    assert set(tenants) == {ONE, OTHER}


@pytest.mark.parametrize("split", ["chance", "user", "metadata.customer", "header.x-tenant"])
def test_who_says_nothing_to_stick_to_is_drawn_anew(gateway: RunningGateway, split: str) -> None:
    asker = Asker(gateway, split)
    assert {asker.model() for _ in range(60)} == {ONE, OTHER}


def test_a_split_is_the_same_after_a_restart(gateway: RunningGateway) -> None:
    asker = Asker(gateway, "user")
    before = [asker.model(user=f"user-{n}") for n in range(30)]
    assert gateway.terminate() == 0
    gateway.start()
    asker = Asker(gateway, "user")
    assert [asker.model(user=f"user-{n}") for n in range(30)] == before


def test_what_a_canary_fails_the_rules_own_target_answers(gateway: RunningGateway, upstream: OfflineServer) -> None:
    asker = Asker(gateway, "canary")
    healthy = [asker.model(user=f"user-{n}") for n in range(200)]
    assert 0.15 < Counter(healthy)[OTHER] / len(healthy) < 0.45
    assert [asker.model(user=f"user-{n}") for n in range(30)] == healthy[:30]
    upstream.lay(status=500, model=OTHER)
    try:
        ill = [asker.model(user=f"user-{n}") for n in range(40)]
    finally:
        upstream.reset()
    assert set(ill) == {ONE}
    tried = gateway.rows("rule = 'canary' AND model = ? AND NOT last", OTHER)
    assert {row["outcome"] for row in tried} == {"upstream_error"}
    served = gateway.rows("rule = 'canary' AND outcome = 'ok'")
    assert len(served) >= 200


def test_a_canary_whose_line_has_ended_costs_nobody_a_call(gateway: RunningGateway) -> None:
    asker = Asker(gateway, "ended")
    assert {asker.model(f"Question {n}") for n in range(30)} == {TUNED}
