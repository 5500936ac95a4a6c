"""Keys that are bound to models, paths and metadata, as the official client meets them."""

from typing import Any

import openai
import pytest

from tests.fakes.running_gateway import RunningGateway

ASKED: Any = [{"role": "user", "content": "Count to 3"}]
HELP: Any = [{"role": "user", "content": "How long do refunds take?"}]


def bound(gateway: RunningGateway, team: str, **terms: Any) -> openai.OpenAI:
    return gateway.client(key=gateway.key(team, fresh=True, **terms))


def test_a_key_asks_for_its_models_and_no_others(gateway: RunningGateway) -> None:
    client = bound(gateway, "bound", allowed_models=["gpt-4.1*", "tone"])
    for model in ("gpt-4.1-mini", "gpt-4.1", "tone"):
        assert client.chat.completions.create(model=model, messages=ASKED).choices[0].message.content
    for model in ("gpt-4o-mini", "auto", "kb/help-centre", "house-model", "tone@v1", "old-tone"):
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.chat.completions.create(model=model, messages=ASKED)
        assert caught.value.code == "not_permitted"
        assert "gpt-4.1*, tone" in caught.value.message
    with pytest.raises(openai.PermissionDeniedError):
        client.embeddings.create(model="text-embedding-3-small", input="Hello")
    with pytest.raises(openai.PermissionDeniedError):
        client.files.list()


def test_the_list_of_models_has_those_of_the_key(gateway: RunningGateway) -> None:
    client = bound(gateway, "bound", allowed_models=["gpt-4.1*", "tone"])
    listed = {model.id for model in client.models.list()}
    assert {"gpt-4.1-mini", "tone"} <= listed
    assert all(name == "tone" or name.startswith("gpt-4.1") for name in listed)
    assert client.models.retrieve("tone").id == "tone"
    for name in ("gpt-4o-mini", "auto", "tone@v1"):
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(name)
    assert gateway.client("bound").models.retrieve("tone@v1").id == "tone@v1"


def test_a_refused_model_is_in_the_metrics_as_what_it_is(gateway: RunningGateway) -> None:
    client = bound(gateway, "counted", allowed_models=["gpt-4.1-mini"])
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="gpt-4o-mini", messages=ASKED)
    assert gateway.counted("gateway_requests_total", team="counted", error_type="not_permitted") == 1
    assert gateway.rows("team = 'counted'") == []


def test_a_path_that_is_closed_to_the_key_is_refused(gateway: RunningGateway) -> None:
    client = bound(gateway, "bound", allowed_paths=["rag"])
    reply = client.chat.completions.with_raw_response.create(model="kb/help-centre", messages=HELP)
    assert reply.headers["x-gateway-path"] == "rag"
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.chat.completions.create(model="gpt-4.1-mini", messages=ASKED)
    assert "'direct'" in caught.value.message
    decision = caught.value.response.headers["x-gateway-decision"]
    assert gateway.decision(decision)["record"]["rule"] == "everything-else"
    with pytest.raises(openai.PermissionDeniedError):
        client.files.list(purpose="vision")
    with pytest.raises(openai.PermissionDeniedError, match="fine_tuned"):
        client.fine_tuning.jobs.list()
    assert client.files.list().data == []
    with pytest.raises(openai.PermissionDeniedError, match="'rag'"):
        bound(gateway, "bound", allowed_paths=["direct"]).files.list()
    assert bound(gateway, "bound", allowed_models=["gpt-4.1*"], allowed_paths=["rag"]).vector_stores.list().data


def test_the_keys_metadata_decides_and_is_booked_above_the_callers(gateway: RunningGateway) -> None:
    client = bound(gateway, "labelled", metadata={"task": "tone", "unit": "eu"})
    reply = client.chat.completions.with_raw_response.create(
        model="gpt-4.1-mini", messages=ASKED, metadata={"task": "board", "ticket": "7"}
    )
    assert reply.headers["x-gateway-rule"] == "in-our-tone"
    [row] = gateway.rows_of("labelled", 1)
    for pair in ('"task":"tone"', '"ticket":"7"', '"unit":"eu"'):
        assert pair in row["metadata"].replace(" ", "")


@pytest.mark.parametrize(
    "terms",
    [
        {"allowed_models": ["a*b"]},
        {"allowed_models": "gpt-4.1"},
        {"allowed_paths": ["sideways"]},
        {"metadata": {"k": 1}},
        {"metadata": {"k": "v" * 600}},
    ],
)
def test_terms_that_cannot_be_make_no_key(gateway: RunningGateway, terms: dict[str, Any]) -> None:
    gateway.team("strict")
    headers = {"authorization": f"Bearer {gateway.admin_key}"}
    reply = gateway.http.post("/admin/keys", json={"team": "strict", "name": "k", **terms}, headers=headers)
    assert reply.status_code == 400, reply.text
    assert gateway.admin("GET", "/admin/keys?team=strict") == []


def test_a_rotated_key_is_bound_as_the_old_one_was(gateway: RunningGateway) -> None:
    gateway.team("turned")
    terms = {"allowed_models": ["gpt-4.1-mini"], "allowed_paths": ["direct"], "metadata": {"unit": "eu"}}
    old = gateway.admin("POST", "/admin/keys", {"team": "turned", "name": "k", **terms})["info"]
    new = gateway.admin("POST", f"/admin/keys/{old['id']}/rotate?overlap_seconds=60")["info"]
    assert {name: new[name] for name in terms} == terms
    assert (new["team"], new["name"]) == ("turned", "k")


def test_an_organisation_is_set_and_changed(gateway: RunningGateway) -> None:
    gateway.team("part", organisation="acme")
    assert gateway.admin("PUT", "/admin/teams/part", {"title": "A part"})["organisation"] == "acme"
    assert gateway.admin("PUT", "/admin/teams/part", {"organisation": ""})["organisation"] == ""
    [team] = [team for team in gateway.admin("GET", "/admin/teams") if team["name"] == "part"]
    assert (team["title"], team["organisation"]) == ("A part", "")
