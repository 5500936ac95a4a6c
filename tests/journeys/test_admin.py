"""/admin is for holders of the admin key, and /healthz, /readyz and /metrics for everybody near."""

import pytest

from tests.fakes.running_gateway import RunningGateway

ROUTES = (
    ("GET", "/admin/teams"),
    ("POST", "/admin/teams"),
    ("PUT", "/admin/teams/x/budget"),
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys"),
    ("POST", "/admin/keys/x/rotate"),
    ("DELETE", "/admin/keys/x"),
    ("GET", "/admin/usage"),
    ("POST", "/admin/usage/x/adjust"),
    ("GET", "/admin/usage/x/adjustments"),
    ("GET", "/admin/usage/export"),
    ("GET", "/admin/usage/reconcile?upstream=x&since=2026-11-01&until=2026-11-02"),
    ("GET", "/admin/prices?models=x"),
    ("POST", "/admin/prices/diff"),
    ("POST", "/admin/prices/apply"),
    ("POST", "/admin/prices/reprice"),
    ("GET", "/admin/decisions/x"),
    ("POST", "/admin/explain"),
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_admin_is_closed_to_everybody_else(gateway: RunningGateway, method: str, path: str) -> None:
    team_key = gateway.key()
    for authorization, status in (
        (None, 401),
        ("Basic eDp5", 401),
        (f"Bearer {team_key}", 403),
        ("Bearer wrong", 403),
        (f"Bearer {gateway.admin_key}x", 403),
        (f"Bearer {gateway.admin_key[:-1]}", 403),
    ):
        headers = {"authorization": authorization} if authorization else {}
        reply = gateway.http.request(method, path, headers=headers, json={} if method in {"POST", "PUT"} else None)
        assert reply.status_code == status, (authorization, reply.text)
        assert reply.json()["error"].keys() == {"message", "type", "param", "code"}


def test_the_admin_key_opens_no_models(gateway: RunningGateway) -> None:
    reply = gateway.http.get("/v1/models", headers={"authorization": f"Bearer {gateway.admin_key}"})
    assert reply.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/admin/teams", {"name": "x y"}, 400),
        ("POST", "/admin/teams", {"name": "fine", "surprise": 1}, 400),
        ("POST", "/admin/teams", {"name": "fine", "monthly_budget_usd": "-1"}, 400),
        ("POST", "/admin/teams", {"name": "fine", "monthly_budget_usd": "NaN"}, 400),
        ("POST", "/admin/teams", {"name": "fine", "monthly_budget_usd": "Infinity"}, 400),
        ("POST", "/admin/teams", {"name": "fine", "monthly_budget_usd": "1e30"}, 400),
        ("POST", "/admin/teams", {"name": "fine", "monthly_budget_usd": "much"}, 400),
        ("POST", "/admin/keys", {"team": "nobody", "name": "k"}, 404),
        ("POST", "/admin/keys", {"team": "nobody"}, 400),
        ("PUT", "/admin/teams/nobody/budget", {"monthly_budget_usd": "1"}, 404),
        ("DELETE", "/admin/keys/key_none", None, 404),
        ("GET", "/admin/decisions/dec_none", None, 404),
        ("GET", "/admin/usage?by=colour", None, 400),
        ("GET", "/admin/usage?since=yesterday", None, 400),
        ("POST", "/admin/explain", {"team": "support", "surprise": 1}, 400),
        ("POST", "/admin/knowledge/nothing/sync", None, 404),
        ("GET", "/admin/knowledge/help-centre/search?text=refunds", None, 400),
        ("GET", "/admin/nothing", None, 404),
    ],
)
def test_a_bad_admin_request_is_told_what_is_wrong(
    gateway: RunningGateway, method: str, path: str, body: dict[str, object] | None, status: int
) -> None:
    headers = {"authorization": f"Bearer {gateway.admin_key}"}
    reply = gateway.http.request(method, path, json=body, headers=headers)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert "Traceback" not in reply.text


def test_a_team_that_exists_is_a_conflict(gateway: RunningGateway) -> None:
    gateway.team("twice")
    headers = {"authorization": f"Bearer {gateway.admin_key}"}
    reply = gateway.http.post("/admin/teams", json={"name": "twice"}, headers=headers)
    assert reply.status_code == 409


def test_keys_are_listed_without_their_text(gateway: RunningGateway) -> None:
    key = gateway.key("listed", fresh=True)
    [info] = gateway.admin("GET", "/admin/keys?team=listed")
    assert key.startswith(info["prefix"])
    assert len(info["prefix"]) <= 12
    assert key not in str(info)


def test_a_call_is_explained_without_being_sent(gateway: RunningGateway) -> None:
    told = gateway.admin(
        "POST", "/admin/explain", {"team": "support", "text": "How long do refunds take?", "knowledge_score": 0.9}
    )
    assert (told["path"], told["model"]) == ("rag", "gpt-4.1-mini")


def test_health_readiness_and_metrics_answer_without_a_key(gateway: RunningGateway) -> None:
    assert gateway.http.get("/healthz").text == "ok\n"
    assert gateway.http.get("/readyz").json() == {"status": "ready"}
    metrics = gateway.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert "gateway_in_flight" in metrics.text


def test_the_admin_api_describes_itself(gateway: RunningGateway) -> None:
    described = gateway.http.get("/schema/openapi.json").json()
    assert "/admin/teams" in described["paths"]
    assert described["info"]["title"] == "Switchyard"


def test_collections_are_listed_read_anew_and_searched(gateway: RunningGateway) -> None:
    """The twins of `gateway knowledge status`, `sync` and `search`."""
    page = gateway.policies / "help-centre" / "numbat.md"
    try:
        page.write_text("# Numbats\n\nThe numbat eats termites.\n")
        report = gateway.admin("POST", "/admin/knowledge/help-centre/sync")
        assert report["faults"] == []
        (listed,) = [one for one in gateway.admin("GET", "/admin/knowledge") if one["name"] == "help-centre"]
        assert listed["documents"] == len(list(page.parent.glob("*.md")))
        assert [source["kind"] for source in listed["sources"]] == ["folder"]
        path = "/admin/knowledge/help-centre/search?text=What+does+the+numbat+eat%3F&team=support"
        assert gateway.admin("GET", path)["hits"][0]["document"] == "numbat.md"
        assert gateway.admin("GET", path.replace("help-centre", "board-minutes"))["hits"] == []
    finally:
        page.unlink()
