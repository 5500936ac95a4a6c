"""A platform team looks after lines over /admin; every worker follows within a second, and each team sees its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

FIRST = {"model": "ft:gpt-4o-mini-2024-07-18:acme:tone:Aa01", "upstream": "main", "base": "gpt-4o-mini-2024-07-18"}
SECOND = FIRST | {"model": "ft:gpt-4o-mini-2024-07-18:acme:tone:Aa02"}
HI: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def lined(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("lines"), upstream.base_url, workers=2) as running:
        yield running


def answering(client: openai.OpenAI, model: str) -> str:
    reply = client.chat.completions.with_raw_response.create(model=model, messages=HI)
    return str(reply.headers["x-gateway-model"])


def _answers(client: openai.OpenAI, model: str, wanted: str) -> bool:
    """Not yet, while a worker does not know the name."""
    try:
        return answering(client, model) == wanted
    except openai.NotFoundError:
        return False


def all_workers(client: openai.OpenAI, model: str, wanted: str) -> None:
    """Twenty calls in a row: connections go to both workers."""
    until(lambda: all(_answers(client, model, wanted) for _ in range(20)) or None, 10, what=f"{wanted} everywhere")


def test_a_line_is_made_promoted_and_rolled_back_on_all_workers(lined: RunningGateway) -> None:
    client, other = lined.client("support"), lined.client("sales")
    made = lined.admin("POST", "/admin/lines", {"name": "house-tone", "owner": "support", "version": FIRST})
    assert (made["champion"], made["revision"]) == (1, 1)
    all_workers(client, "house-tone", FIRST["model"])
    with pytest.raises(openai.NotFoundError):
        other.chat.completions.create(model="house-tone", messages=HI)
    assert "house-tone" not in {model.id for model in other.models.list()}
    added = lined.admin("POST", "/admin/lines/house-tone/versions", SECOND)
    assert (added["number"], added["parent"]) == (2, 1)
    until(lambda: _answers(client, "house-tone@v2", SECOND["model"]) or None, what="the second version")
    gate = lined.admin("GET", "/admin/lines/house-tone/gate?version=2")
    assert gate["passed"] is False
    headers = {"authorization": f"Bearer {lined.admin_key}"}
    refused = lined.http.post("/admin/lines/house-tone/promote", headers=headers, json={"version": 2})
    assert refused.status_code == 409
    assert "same frozen set" in refused.json()["error"]["message"]
    done = lined.admin("POST", "/admin/lines/house-tone/promote", {"version": 2, "force": True, "reason": "a trial"})
    assert (done["line"]["champion"], done["was_forced"]) == (2, True)
    all_workers(client, "house-tone", SECOND["model"])
    lined.admin("POST", "/admin/lines/house-tone/rollback", {"reason": "it was worse"})
    all_workers(client, "house-tone", FIRST["model"])
    events = lined.admin("GET", "/admin/lines/house-tone/events")
    assert [event["action"] for event in events] == ["line.rollback", "line.promote", "line.version", "line.create"]
    noted = [event for event in lined.admin("GET", "/admin/audit") if event["subject"] == "line:house-tone"]
    assert {event["actor"] for event in noted} == {"admin"}
    assert len(noted) == 4


def test_a_line_is_there_after_a_kill_before_the_database_is_asked(tmp_path: Path, upstream: OfflineServer) -> None:
    with running_gateway(tmp_path, upstream.base_url) as gateway:
        client = gateway.client("support")
        gateway.admin("POST", "/admin/lines", {"name": "house-tone", "owner": "support", "version": FIRST})
        all_workers(client, "house-tone", FIRST["model"])
        gateway.kill()
        gateway.start()
        assert answering(client, "house-tone") == FIRST["model"]


def test_a_role_for_a_team_changes_that_teams_lines_alone(lined: RunningGateway) -> None:
    lined.team("board")
    lined.admin("POST", "/admin/lines", {"name": "board-tone", "owner": "board", "version": FIRST})
    key = lined.admin("POST", "/admin/roles", {"name": "owner", "role": "team_owner", "team": "sales"})["key"]
    headers = {"authorization": f"Bearer {key}"}
    until(lambda: lined.http.get("/admin/lines", headers=headers).status_code == 200 or None, what="the role key")
    names = {one["line"]["name"] for one in lined.http.get("/admin/lines", headers=headers).json()}
    assert "board-tone" not in names
    assert "tone" in names
    for path, body in (
        ("/admin/lines/board-tone/rollback", {}),
        ("/admin/lines/board-tone/canary", {"version": 1, "share": 0.1}),
        ("/admin/lines/tone/versions", SECOND),
        ("/admin/lines", {"name": "stolen", "owner": "board", "version": FIRST}),
    ):
        assert lined.http.post(path, headers=headers, json=body).status_code == 403, path
    assert lined.http.get("/admin/lines/board-tone", headers=headers).status_code == 403
