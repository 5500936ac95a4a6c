"""Keys' terms, organisations, roles, members and the audit log on the command line, each with its REST twin."""

import json
import os
import pwd
from typing import Any

import pytest

from tests.fakes.running_gateway import RunningGateway, until

ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"


def said(gateway: RunningGateway, *arguments: str) -> Any:
    done = gateway.cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_key_is_bound_on_the_command_line_as_over_rest(gateway: RunningGateway) -> None:
    said(gateway, "teams", "create", "desk", "--organisation", "acme")
    words = ("--allowed-models", "gpt-4.1*", "--allowed-models", "auto", "--allowed-paths", "direct")
    made = said(gateway, "keys", "create", "desk", *words, "--metadata", "env=prod", "--metadata", "note=a=b")
    assert made["info"]["allowed_models"] == ["gpt-4.1*", "auto"]
    assert made["info"]["allowed_paths"] == ["direct"]
    assert made["info"]["metadata"] == {"env": "prod", "note": "a=b"}
    assert said(gateway, "keys", "list", "--team", "desk") == gateway.admin("GET", "/admin/keys?team=desk")
    table = gateway.cli("keys", "list", "--team", "desk").stdout
    assert "gpt-4.1* auto path:direct env=prod note=a=b" in table
    for wrong in (("--metadata", "env"), ("--allowed-paths", "up"), ("--allowed-models", "a*b")):
        done = gateway.cli("keys", "create", "desk", *wrong)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1


def test_a_teams_organisation_is_set_and_left_out(gateway: RunningGateway) -> None:
    said(gateway, "teams", "create", "wing", "--title", "Wing")
    changed = said(gateway, "teams", "set", "wing", "--organisation", "acme")
    assert (changed["title"], changed["organisation"]) == ("Wing", "acme")
    assert said(gateway, "teams", "set", "wing", "--organisation", "")["organisation"] == ""
    assert "Wing" in gateway.cli("teams", "set", "wing", "--organisation", "acme").stdout
    assert gateway.cli("teams", "set", "nobody", "--title", "x").returncode == 1
    assert said(gateway, "teams", "list") == gateway.admin("GET", "/admin/teams")


def test_teams_in_a_file_have_organisations(gateway: RunningGateway) -> None:
    path = gateway.policies / "teams.yaml"
    path.write_text("teams: {filed: {title: Filed, organisation: acme, monthly_budget_usd: 3}}\n")

    def look() -> Any:
        return [team for team in gateway.admin("GET", "/admin/teams") if team["name"] == "filed"]

    [team] = until(look, what="a team of the file")
    assert (team["organisation"], team["monthly_budget_nano_usd"]) == ("acme", 3_000_000_000)
    [event] = gateway.admin("GET", "/admin/audit?subject=team:filed")
    assert event["actor"] == "policy"
    path.unlink()


def test_role_keys_are_made_listed_and_revoked(gateway: RunningGateway) -> None:
    gateway.team("desk")
    made = said(gateway, "roles", "create", "ci", "--role", "team_viewer", "--team", "desk", "--expires-in-days", "1")
    headers = {"authorization": f"Bearer {made['key']}"}
    until(lambda: gateway.http.get("/admin/keys", headers=headers).status_code == 200, 2, what="a role key")
    assert said(gateway, "roles", "list") == gateway.admin("GET", "/admin/roles")
    assert "team_viewer" in gateway.cli("roles", "list").stdout
    assert said(gateway, "roles", "revoke", made["info"]["prefix"])["revoked_at"] is not None
    until(lambda: gateway.http.get("/admin/keys", headers=headers).status_code == 403, 2, what="its end")
    done = gateway.cli("roles", "create", "plain", "--role", "metrics")
    assert done.stdout.startswith("sk-gwr-")
    assert gateway.cli("roles", "create", "x", "--role", "king").stderr == (
        "'king' is no role; there are admin, policy_author, team_owner, team_viewer, metrics.\n"
    )
    assert gateway.cli("roles", "revoke", "rol_none").returncode == 1


def test_members_are_added_listed_and_removed(gateway: RunningGateway) -> None:
    gateway.team("desk")
    said(gateway, "members", "add", "Ann@Example.com", "--role", "admin")
    said(gateway, "members", "add", "ann@example.com", "--role", "team_owner", "--team", "desk")
    assert gateway.cli("members", "add", "ann@example.com", "--role", "metrics").returncode == 1
    assert said(gateway, "members", "list") == gateway.admin("GET", "/admin/members")
    assert [(one["email"], one["role"], one["team"]) for one in said(gateway, "members", "list")] == [
        ("ann@example.com", "admin", ""),
        ("ann@example.com", "team_owner", "desk"),
    ]
    assert "ann@example.com" in gateway.cli("members", "list").stdout
    assert gateway.cli("members", "remove", "ANN@example.com", "--team", "desk").stdout == (
        "ann@example.com is team_owner of team 'desk' no more.\n"
    )
    assert len(said(gateway, "members", "remove", "ann@example.com")) == 1
    assert gateway.cli("members", "remove", "ann@example.com").returncode == 1


def test_the_audit_log_says_the_same_on_both_sides(gateway: RunningGateway) -> None:
    said(gateway, "teams", "create", "told", "--budget", "1")
    said(gateway, "budgets", "set", "told", "2.5")
    gateway.admin("PUT", "/admin/teams/told/budget", {"monthly_budget_usd": None})
    events = said(gateway, "audit", "--subject", "team:told")
    assert events == gateway.admin("GET", "/admin/audit?subject=team:told")
    assert [(event["actor"], event["action"]) for event in events] == [
        ("admin", "budget.lift"),
        (ME, "budget.set"),
        (ME, "team.create"),
    ]
    assert events[1]["detail"]["before"] == {"monthly_budget_nano_usd": 1_000_000_000}
    assert "budget.lift" in gateway.cli("audit", "--subject", "team:told").stdout
    assert len(said(gateway, "audit", "--limit", "2")) == 2
    assert gateway.cli("audit", "--limit", "0").returncode == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=many"])
def test_a_length_of_the_log_that_cannot_be_is_refused(gateway: RunningGateway, query: str) -> None:
    headers = {"authorization": f"Bearer {gateway.admin_key}"}
    assert gateway.http.get(f"/admin/audit?{query}", headers=headers).status_code == 400
