"""PostgreSQL is stopped, hangs or refuses for a while: known keys are served, and no row is lost.

Ten minutes of it are scaled down to seconds here; `bench/` has the figures.
"""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.database_proxy import DatabaseProxy, Mode, database_proxy
from tests.fakes.offline_server import OfflineServer
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Count to 5"}], "max_tokens": 20}
TEAMS = ("patient", "rich", "poor")
SECONDS = 4.0


@pytest.fixture
def door(postgres: Postgres) -> Iterator[DatabaseProxy]:
    with database_proxy(postgres.folder) as proxy:
        yield proxy


@pytest.fixture
def gateway(
    tmp_path: Path, running_upstream: OfflineServer, postgres: Postgres, door: DatabaseProxy
) -> Iterator[RunningGateway]:
    environment = {"GATEWAY_DATABASE_URL": door.url(postgres.fresh())}
    with running_gateway(tmp_path / "g", running_upstream.base_url, environment=environment) as running:
        for team in TEAMS:
            running.key(team)
        for team, usd in (("rich", "1000"), ("poor", "5")):
            running.admin("PUT", f"/admin/teams/{team}/budget", {"monthly_budget_usd": usd})
        # Known budgets, and one call each: every part of what is known and leased has been there once.
        ratios = {("gateway_budget_used_ratio", frozenset({("team", team)})) for team in TEAMS[1:]}
        until(lambda: ratios <= running.metrics().keys(), what="the budgets")
        for team in TEAMS:
            assert running.post("/v1/chat/completions", ASKED, team=team).status_code == 200
        yield running


@pytest.mark.parametrize("mode", ["stop", "hang", "refuse"])
def test_known_keys_are_served_and_no_row_is_lost(
    gateway: RunningGateway, door: DatabaseProxy, upstream: OfflineServer, mode: Mode
) -> None:
    said: Counter[int] = Counter()
    served: Counter[str] = Counter(dict.fromkeys(TEAMS, 1))
    door.turn(mode)
    ends = time.monotonic() + SECONDS

    def caller(team: str) -> None:
        while time.monotonic() < ends:
            status = gateway.post("/v1/chat/completions", ASKED, team=team).status_code
            said[status] += 1
            served[team] += status == 200
            time.sleep(0.01)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(caller, TEAMS * 2))
    assert set(said) == {200}
    assert gateway.counted("gateway_journal_pending_events") > 50
    assert gateway.http.get("/readyz").status_code == 200
    door.turn("pass")

    def all_there() -> dict[str, int] | None:
        lines = gateway.admin("GET", "/admin/usage?by=team")["lines"]
        found = {line["group"]["team"]: line["attempts"] for line in lines}
        return found if sum(found.values()) >= sum(served.values()) else None

    assert until(all_there, 40, what="all rows") == dict(served)
    until(lambda: gateway.counted("gateway_journal_pending_events") == 0, 10, what="an empty journal")


def test_a_hard_budget_that_cannot_be_checked_is_a_503_and_never_a_429(
    gateway: RunningGateway, door: DatabaseProxy, upstream: OfflineServer
) -> None:
    """What was leased ahead is spent; the rest cannot be asked for while the database is away."""
    dear = ASKED | {"max_tokens": 1_000_000}  # 1.60 USD at most: more than the part of 5 USD that is leased
    assert gateway.post("/v1/chat/completions", dear, team="poor").status_code == 200
    door.turn("stop")
    replies = [gateway.post("/v1/chat/completions", dear | {"n": 3}, team="poor") for _ in range(3)]
    assert {reply.status_code for reply in replies} == {503}
    assert {reply.json()["error"]["code"] for reply in replies} == {"budget_unverifiable"}
    assert gateway.post("/v1/chat/completions", ASKED, team="patient").status_code == 200
    door.turn("pass")
    until(
        lambda: gateway.post("/v1/chat/completions", dear | {"n": 3}, team="poor").status_code == 200,
        10,
        what="a grant from the database",
    )


def test_a_process_that_starts_while_the_database_is_away_serves_known_keys(
    gateway: RunningGateway, door: DatabaseProxy, upstream: OfflineServer
) -> None:
    """And keeps hard budgets hard: what it cannot check is a 503."""
    # What is left on disk beside the keys is renewed with them; this makes them change.
    gateway.key("newcomer")
    assert gateway.post("/v1/chat/completions", ASKED, team="newcomer").status_code == 200
    before = gateway.admin("GET", "/admin/usage?by=team")["total"]["attempts"]
    gateway.kill()
    door.turn("stop")
    gateway.start()
    for team, status in (("patient", 200), ("newcomer", 200), ("rich", 503)):
        reply = gateway.post("/v1/chat/completions", ASKED, team=team)
        assert reply.status_code == status, (team, reply.text)
    assert reply.json()["error"]["code"] == "budget_unverifiable"
    # Two seconds after the database was last heard of, a key that is not known may be a new one.
    stranger = {"authorization": "Bearer sk-gw-nobody-has-this-key"}
    until(
        lambda: gateway.http.post("/v1/chat/completions", json=ASKED, headers=stranger).status_code == 503,
        5,
        what="a word that the key cannot be checked",
    )
    door.turn("pass")
    until(lambda: gateway.post("/v1/chat/completions", ASKED, team="rich").status_code == 200, 15, what="the database")
    until(lambda: gateway.admin("GET", "/admin/usage?by=team")["total"]["attempts"] >= before + 3, 15, what="the rows")
