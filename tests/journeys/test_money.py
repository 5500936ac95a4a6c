"""Prices change, books are corrected, by command and by REST: the same functions, the same answers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.offline_server import OfflineServer, offline_server
from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, running_gateway, until

NEW = """\
prices:
- models: [gpt-4.1-mini]
  from: 2020-01-01
  input: 4.00
  output: 16.00
  source: a page
  read_on: 2026-11-23
"""
ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def upstream() -> Iterator[OfflineServer]:
    with offline_server(key=UPSTREAM_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("money"), upstream.base_url) as running:
        for team in ("red", "blue"):
            assert running.post("/v1/chat/completions", ASKED, team).status_code == 200
            running.rows_of(team, 1)
        yield running


def told(gateway: RunningGateway, *arguments: str) -> Any:
    done = gateway.cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cost_of(gateway: RunningGateway, team: str) -> int:
    cost: int = gateway.admin("GET", f"/admin/usage?team={team}")["total"]["cost_nano_usd"]
    return cost


def test_new_prices_are_tried_applied_and_then_reach_old_rows(gateway: RunningGateway) -> None:
    """Ten times the price: a dry run says so, the file gets it, rows keep their cost until they are repriced."""
    file = gateway.folder / "new.yaml"
    file.write_text(NEW)
    [row] = gateway.rows_of("red", 1)
    before = row["cost_nano_usd"]
    difference = told(gateway, "prices", "diff", str(file))
    assert difference == gateway.admin("POST", "/admin/prices/diff", {"text": NEW}) | {"after": "new.yaml"}
    assert ["input", 400_000, 4_000_000] in [[one["rate"], one["before"], one["after"]] for one in difference["rates"]]
    reds = [line for line in difference["rows"]["lines"] if line["team"] == "red"]
    assert [(line["before_nano_usd"], line["after_nano_usd"]) for line in reds] == [(before, 10 * before)]

    assert told(gateway, "prices", "apply", str(file), "--dry-run")["added"] == ["gpt-4.1-mini"]
    applied = gateway.admin("POST", "/admin/prices/apply", {"text": NEW})
    assert (gateway.policies / "prices.yaml").read_text() == applied["text"]
    until(lambda: gateway.admin("GET", "/admin/prices?models=gpt-4.1-mini")["gpt-4.1-mini"]["input"] == 4_000_000)
    assert gateway.rows_of("red", 1) == [row]

    dry = told(gateway, "prices", "reprice", "--team", "red", "--dry-run")
    wet = gateway.admin("POST", "/admin/prices/reprice", {"team": "red"})
    assert dry["lines"] == wet["lines"]
    assert told(gateway, "prices", "reprice", "--team", "red")["changed"] == 0
    assert gateway.rows_of("red", 1) == [row]
    [adjustment] = gateway.admin("GET", f"/admin/usage/{row['id']}/adjustments")
    assert (adjustment["delta_nano_usd"], adjustment["actor"]) == (9 * before, "admin")


def test_a_row_is_corrected_by_hand(gateway: RunningGateway) -> None:
    [row] = gateway.rows_of("blue", 1)
    made = told(gateway, "usage", "adjust", row["id"], "--usd=-0.000001", "--reason", "a refund")
    assert (made["delta_nano_usd"], made["actor"][:4]) == (-1_000, "cli:")
    again = gateway.admin("POST", f"/admin/usage/{row['id']}/adjust", {"usd": "0.0000005", "reason": "half of it"})
    found = gateway.admin("GET", f"/admin/usage/{row['id']}/adjustments")
    assert [one["id"] for one in found] == [made["id"], again["id"]]
    assert gateway.rows_of("blue", 1) == [row]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["usage", "adjust", "call_0.1", "--usd", "1", "--reason", "x"], "no usage row 'call_0.1'"),
        (["usage", "adjust", "call_0.1", "--usd", "much", "--reason", "x"], "write it such as -0.05"),
        (["prices", "reprice", "--since", "yesterday"], "since is 'yesterday'"),
        (["prices", "apply", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told(gateway: RunningGateway, arguments: list[str], fault: str) -> None:
    done = gateway.cli(*arguments)
    assert done.returncode in {1, 78}
    assert fault in done.stderr


@pytest.mark.parametrize("form", ["csv", "focus"])
def test_an_export_is_the_same_by_command_by_file_and_by_rest(gateway: RunningGateway, form: str) -> None:
    out = gateway.folder / f"out.{form}"
    printed = gateway.cli("usage", "export", "--format", form)
    assert told(gateway, "usage", "export", "--format", form, "--out", str(out))["bytes"] == out.stat().st_size
    headers = {"authorization": f"Bearer {gateway.admin_key}"}
    reply = gateway.http.get(f"/admin/usage/export?format={form}", headers=headers)
    assert reply.headers["content-type"].startswith("text/csv")
    assert reply.text == printed.stdout == out.read_text()
    assert "gpt-4.1-mini" in reply.text
    assert gateway.http.get("/admin/usage/export?since=now", headers=headers).status_code == 400


def test_a_report_as_csv_has_the_groups_in_front(gateway: RunningGateway) -> None:
    done = gateway.cli("usage", "report", "--by", "team,month", "--format", "csv")
    head, *lines = done.stdout.splitlines()
    assert head.startswith("team,month,calls,attempts,")
    assert sorted(line.split(",")[0] for line in lines) == ["blue", "red"]
