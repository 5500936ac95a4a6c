"""Who may use which route: every route of the application, tried by everybody there is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from litestar import Litestar, get

from gateway.app import Gateway
from gateway.core.settings import read_settings
from gateway.http.access import ACCESS, require_listed, routes_of
from gateway.identity.roles import ROLES
from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import POLICIES, RunningGateway, running_gateway, until

EVERYBODY = frozenset({"nobody", "call key", *ROLES})
ALL_TEAMS = frozenset({"admin", "team_owner", "team_viewer"})
OWNERS = frozenset({"admin", "team_owner"})
AUTHORS = frozenset({"admin", "policy_author"})
ADMIN = frozenset({"admin"})
CALLERS = frozenset({"call key"})

# Written a second time, by hand: the table in `gateway/http/access.py` cannot be changed without this one.
OPEN_TO: dict[tuple[str, str], frozenset[str]] = {
    ("*", "/v1"): CALLERS,
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", "/metrics"): frozenset({"admin", "metrics"}),
    ("GET", "/schema"): EVERYBODY,
    ("GET", "/auth/login"): EVERYBODY,
    ("GET", "/auth/callback"): EVERYBODY,
    ("GET", "/auth/me"): EVERYBODY,
    ("POST", "/auth/logout"): EVERYBODY,
    ("GET", "/admin/teams"): ALL_TEAMS,
    ("POST", "/admin/teams"): ADMIN,
    ("PUT", "/admin/teams/{team}"): ADMIN,
    ("PUT", "/admin/teams/{team}/budget"): ADMIN,
    ("GET", "/admin/keys"): ALL_TEAMS,
    ("POST", "/admin/keys"): OWNERS,
    ("POST", "/admin/keys/{key_id}/rotate"): OWNERS,
    ("DELETE", "/admin/keys/{key_id}"): OWNERS,
    ("GET", "/admin/usage"): ALL_TEAMS | {"policy_author"},
    ("GET", "/admin/decisions/{decision_id}"): AUTHORS,
    ("POST", "/admin/explain"): AUTHORS,
    ("GET", "/admin/roles"): ADMIN,
    ("POST", "/admin/roles"): ADMIN,
    ("DELETE", "/admin/roles/{key_id}"): ADMIN,
    ("GET", "/admin/members"): ADMIN,
    ("POST", "/admin/members"): ADMIN,
    ("DELETE", "/admin/members/{email}"): ADMIN,
    ("GET", "/admin/audit"): ADMIN,
    ("GET", "/admin/budgets"): ALL_TEAMS,
    ("PUT", "/admin/budgets"): ADMIN,
    ("DELETE", "/admin/budgets/{budget_id}"): ADMIN,
    ("GET", "/admin/limits"): ADMIN,
    ("PUT", "/admin/limits"): ADMIN,
    ("GET", "/admin/prices"): frozenset({"admin", "policy_author", "team_owner", "team_viewer"}),
    ("POST", "/admin/prices/diff"): AUTHORS,
    ("POST", "/admin/prices/apply"): ADMIN,
    ("POST", "/admin/prices/reprice"): ADMIN,
    ("POST", "/admin/usage/{event_id}/adjust"): ADMIN,
    ("GET", "/admin/usage/{event_id}/adjustments"): ADMIN,
    ("GET", "/admin/usage/export"): frozenset({"admin", "policy_author", "team_owner", "team_viewer"}),
    ("GET", "/admin/usage/reconcile"): ADMIN,
    ("GET", "/admin/webhooks"): ADMIN,
    ("POST", "/admin/webhooks/{delivery_id}/retry"): ADMIN,
    ("POST", "/admin/webhooks/test"): ADMIN,
    ("POST", "/admin/retention"): ADMIN,
    ("GET", "/admin/knowledge"): AUTHORS,
    ("POST", "/admin/knowledge/{collection}/sync"): AUTHORS,
    ("GET", "/admin/knowledge/{collection}/search"): AUTHORS,
    ("GET", "/admin/knowledge/gaps"): ALL_TEAMS | {"policy_author"},
    ("GET", "/admin/knowledge/impact"): ALL_TEAMS | {"policy_author"},
    ("GET", "/admin/lines"): ALL_TEAMS | {"policy_author"},
    ("GET", "/admin/lines/stale"): ALL_TEAMS | {"policy_author"},
    ("GET", "/admin/lines/trials"): ALL_TEAMS | {"policy_author"},
    ("GET", "/admin/lines/{line}"): ALL_TEAMS | {"policy_author"},
    ("GET", "/admin/lines/{line}/events"): ALL_TEAMS | {"policy_author"},
    ("GET", "/admin/lines/{line}/gate"): ALL_TEAMS | {"policy_author"},
    ("POST", "/admin/lines"): OWNERS,
    ("POST", "/admin/lines/{line}/evaluations"): OWNERS,
    ("GET", "/admin/lines/{line}/evaluations/{evaluation}"): ALL_TEAMS | {"policy_author"},
    ("DELETE", "/admin/lines/{line}"): OWNERS,
    ("POST", "/admin/lines/{line}/successor"): OWNERS,
    ("POST", "/admin/lines/{line}/versions"): OWNERS,
    ("POST", "/admin/lines/{line}/promote"): OWNERS,
    ("POST", "/admin/lines/{line}/rollback"): OWNERS,
    ("POST", "/admin/lines/{line}/canary"): OWNERS,
    ("GET", "/admin/tuning/jobs"): ALL_TEAMS,
    ("GET", "/admin/feedback"): ALL_TEAMS,
}


def application(folder: Path) -> Litestar:
    """The real application, which nobody starts."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {"UPSTREAM_URL": "http://127.0.0.1:9/v1", "UPSTREAM_KEY": "k"}
    settings = read_settings(environment, policies=POLICIES, data=folder / "data")
    return Gateway(settings, environment, access_log=False).application()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    environment = {"GATEWAY_METRICS_AUTH": "true"}
    folder = tmp_path_factory.mktemp("access")
    with running_gateway(folder, upstream.base_url, environment=environment) as running:
        yield running


@pytest.fixture(scope="module")
def keys(gateway: RunningGateway) -> Mapping[str, str]:
    """A key of each kind; team roles are for the team `red`."""
    gateway.team("red")
    made = {"call key": gateway.key("red")}
    for role in ROLES:
        team = "red" if role.startswith("team_") else ""
        shown = gateway.admin("POST", "/admin/roles", {"name": role.replace("_", "-"), "role": role, "team": team})
        made[role] = shown["key"]
    until(lambda: tried(gateway, "GET", "/admin/keys", made["team_viewer"]).status_code == 200, what="a role key")
    return made


def tried(gateway: RunningGateway, method: str, path: str, key: str | None, body: Any = None) -> httpx2.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return gateway.http.request(method, path, headers=headers, json=body)


def test_every_route_is_in_both_tables(tmp_path: Path) -> None:
    """A new route is refused at the start until somebody has said, twice, who may use it."""
    assert set(routes_of(application(tmp_path))) == OPEN_TO.keys() == ACCESS.keys()


def test_an_application_with_a_route_that_nobody_listed_is_none() -> None:
    @get("/admin/secrets", sync_to_thread=False)
    def secrets() -> str:
        return "all of them"

    with pytest.raises(Exception, match="/admin/secrets"):
        require_listed(Litestar([secrets]))


@pytest.mark.parametrize("who", sorted(EVERYBODY))
@pytest.mark.parametrize(("method", "path"), OPEN_TO, ids=lambda part: part)
def test_a_route_opens_to_its_roles_and_to_nobody_else(
    gateway: RunningGateway, keys: Mapping[str, str], method: str, path: str, who: str
) -> None:
    """What is behind an open door may still say no (404, 400); a closed one says 401 or 403."""
    sent = path.replace("{team}", "red").replace("{key_id}", "none").replace("{email}", "nobody@example.com")
    sent = sent.replace("{decision_id}", "dec_none")
    if path == "/v1":
        method, sent = "GET", "/v1/models"
    body = {"team": "red"} if method in {"POST", "PUT"} else None
    reply = tried(gateway, method, sent, keys.get(who), body)
    is_open = who in OPEN_TO["*" if path == "/v1" else method, path]
    assert (reply.status_code not in {401, 403}) is is_open, reply.text
    if not is_open and path != "/v1":
        assert reply.status_code == (401 if who == "nobody" else 403)


def test_the_admin_key_has_the_role_admin(gateway: RunningGateway) -> None:
    assert tried(gateway, "GET", "/admin/audit", gateway.admin_key).status_code == 200
    assert tried(gateway, "GET", "/metrics", gateway.admin_key).status_code == 200
    assert tried(gateway, "GET", "/v1/models", gateway.admin_key).status_code == 401


def test_a_team_role_sees_and_changes_its_own_team_alone(gateway: RunningGateway, keys: Mapping[str, str]) -> None:
    gateway.team("blue", monthly_budget_usd="7")
    blue = gateway.admin("POST", "/admin/keys", {"team": "blue", "name": "theirs"})["info"]
    gateway.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": "Hello"}, team="blue")
    gateway.rows_of("blue", 1)
    for role in ("team_owner", "team_viewer"):
        key = keys[role]
        assert [team["name"] for team in tried(gateway, "GET", "/admin/teams", key).json()] == ["red"]
        assert {info["team"] for info in tried(gateway, "GET", "/admin/keys", key).json()} == {"red"}
        assert tried(gateway, "GET", "/admin/keys?team=blue", key).status_code == 403
        assert tried(gateway, "GET", "/admin/usage?team=blue", key).status_code == 403
        lines = tried(gateway, "GET", "/admin/usage?by=team", key).json()["lines"]
        assert {line["group"]["team"] for line in lines} <= {"red"}
    owner = keys["team_owner"]
    assert tried(gateway, "POST", "/admin/keys", owner, {"team": "blue", "name": "x"}).status_code == 403
    for method, path in (("DELETE", f"/admin/keys/{blue['id']}"), ("POST", f"/admin/keys/{blue['prefix']}/rotate")):
        assert tried(gateway, method, path, owner).status_code == 404
    [still] = [info for info in gateway.admin("GET", "/admin/keys?team=blue") if info["id"] == blue["id"]]
    assert still["revoked_at"] is None
    own = tried(gateway, "POST", "/admin/keys", owner, {"team": "red", "name": "ours"}).json()["info"]["id"]
    fresh = tried(gateway, "POST", f"/admin/keys/{own}/rotate", owner).json()["info"]["id"]
    assert tried(gateway, "DELETE", f"/admin/keys/{fresh}", owner).json()["revoked_at"] is not None
    actors = {event["actor"] for event in gateway.admin("GET", f"/admin/audit?subject=key:{fresh}")}
    [owner_info] = [info for info in gateway.admin("GET", "/admin/roles") if info["role"] == "team_owner"]
    assert actors == {f"key:{owner_info['id']}"}


def test_a_role_key_ends_within_a_second_when_it_is_revoked(gateway: RunningGateway) -> None:
    made = gateway.admin("POST", "/admin/roles", {"name": "short", "role": "admin"})
    until(lambda: tried(gateway, "GET", "/admin/teams", made["key"]).status_code == 200, 2, what="a role key")
    gateway.admin("DELETE", f"/admin/roles/{made['info']['prefix']}")
    until(lambda: tried(gateway, "GET", "/admin/teams", made["key"]).status_code == 403, 2, what="its end")


def test_a_role_key_is_shown_once_and_ends_at_its_second(gateway: RunningGateway) -> None:
    made = gateway.admin("POST", "/admin/roles", {"name": "past", "role": "admin", "expires_at": 1.0})
    assert made["key"].startswith(made["info"]["prefix"])
    assert made["key"] not in str(gateway.admin("GET", "/admin/roles"))
    assert made["key"] not in str(gateway.admin("GET", "/admin/audit"))
    assert tried(gateway, "GET", "/admin/teams", made["key"]).status_code == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "role": "king"}, 400),
        ({"name": "x", "role": "team_owner"}, 400),
        ({"name": "x", "role": "admin", "team": "red"}, 400),
        ({"name": "x", "role": "team_owner", "team": "nobody"}, 404),
        ({"name": "x y", "role": "admin"}, 400),
    ],
)
def test_a_role_that_cannot_be_is_told_what_is_wrong(
    gateway: RunningGateway, keys: Mapping[str, str], body: dict[str, str], status: int
) -> None:
    before = len(gateway.admin("GET", "/admin/roles"))
    assert tried(gateway, "POST", "/admin/roles", gateway.admin_key, body).status_code == status
    member = {("email" if name == "name" else name): value for name, value in body.items()}
    member["email"] = "a b" if " " in body["name"] else "ann@example.com"
    assert tried(gateway, "POST", "/admin/members", gateway.admin_key, member).status_code == status
    assert len(gateway.admin("GET", "/admin/roles")) == before
    assert gateway.admin("GET", "/admin/members") == []


def test_a_path_that_is_written_otherwise_is_no_way_around(gateway: RunningGateway, keys: Mapping[str, str]) -> None:
    for path in ("/admin/audit/", "//admin/audit", "/admin/./audit", "/admin/%61udit", "/ADMIN/audit", "/admin//audit"):
        with httpx2.Client(base_url=gateway.url) as client:
            request = client.build_request("GET", "/", headers={"authorization": f"Bearer {keys['team_viewer']}"})
            request.url = request.url.copy_with(raw_path=path.encode())
            assert client.send(request).status_code in {403, 404}, path


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/admin/keys/a%00b"),
        ("POST", "/admin/keys/a%00b/rotate"),
        ("DELETE", "/admin/members/a%00@b"),
        ("GET", "/admin/audit?subject=a%00b"),
        ("GET", "/admin/keys?team=%00"),
        ("GET", "/admin/decisions/%00"),
    ],
)
def test_no_byte_that_the_database_cannot_take_gets_there(gateway: RunningGateway, method: str, path: str) -> None:
    assert tried(gateway, method, path, gateway.admin_key).status_code == 400


def test_a_title_that_the_database_cannot_take_makes_no_team(gateway: RunningGateway) -> None:
    body = {"name": "nul", "title": "a\x00b"}
    assert tried(gateway, "POST", "/admin/teams", gateway.admin_key, body).status_code == 400
    assert "nul" not in [team["name"] for team in gateway.admin("GET", "/admin/teams")]
