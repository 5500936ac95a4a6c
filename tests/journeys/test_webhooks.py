"""An operator looks after webhooks: a test message, what waits, and once more; on the command line and over /admin."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.db.engine import Database
from gateway.ledger.webhooks.store import WebhookStore
from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import ADMIN_KEY, RunningGateway, free_port, running_gateway, until
from tests.fakes.scripted_server import says, scripted

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
TAKEN = says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    """A gateway of its own: with a secret to sign with, on two workers."""
    environment = {"GATEWAY_WEBHOOK_SECRET": SECRET}
    folder: Path = tmp_path_factory.mktemp("webhooks")
    with running_gateway(folder, upstream.base_url, environment=environment, workers=2) as running:
        yield running


async def add(gateway: RunningGateway, fact: str, port: int) -> None:
    database = Database(f"sqlite+aiosqlite:///{gateway.data / 'gateway.db'}")
    async with database.session() as session:
        await WebhookStore(database).add(session, fact, f"http://127.0.0.1:{port}/hook", '{"type":"x"}')
    await database.close()


async def test_a_message_that_failed_is_seen_and_sent_again_on_demand(told: RunningGateway) -> None:
    port = free_port()
    await add(told, "failed", port)

    def listed() -> list[dict[str, object]]:
        found = json.loads(told.cli("webhooks", "list", "--undelivered", "--json").stdout)
        return [one for one in found if one["tries"] == 1]

    (waiting,) = await asyncio.to_thread(until, listed, 10, what="a first try")
    assert "cannot be reached" in str(waiting["fault"])
    assert told.http.get("/admin/webhooks?undelivered=true", headers=ADMIN).json()[0]["id"] == waiting["id"]
    async with scripted(TAKEN, port=port) as receiver:
        again = await asyncio.to_thread(told.cli, "webhooks", "retry", str(waiting["id"]))
        assert again.returncode == 0, again.stderr
        await receiver.until(lambda: bool(receiver.visits), 10)
        assert str(waiting["id"]).encode() in receiver.visits[0].head
    await asyncio.to_thread(until, lambda: not listed(), 10, what="its delivery")
    twice = told.http.post(f"/admin/webhooks/{waiting['id']}/retry", headers=ADMIN)
    assert twice.status_code == 409


async def test_two_workers_tell_each_fact_once(told: RunningGateway) -> None:
    async with scripted(TAKEN) as receiver:
        for number in range(20):
            await add(told, f"fact {number}", receiver.origin.port)
        await receiver.until(lambda: len(receiver.visits) >= 20, 20)

        def all_told() -> bool:
            rows = told.http.get("/admin/webhooks?undelivered=true", headers=ADMIN).json()
            return not rows

        await asyncio.to_thread(until, all_told, 10, what="the delivery of all")
        assert len(receiver.visits) == 20


async def test_a_test_message_says_whether_it_is_taken(told: RunningGateway) -> None:
    async with scripted(TAKEN) as receiver:
        url = f"http://127.0.0.1:{receiver.origin.port}/hook"
        done = await asyncio.to_thread(told.cli, "webhooks", "test", url, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["status"] == 200
        reply = await asyncio.to_thread(told.http.post, "/admin/webhooks/test", headers=ADMIN, json={"url": url})
        assert reply.json()["status"] == 200
        assert b"webhook-signature: v1," in receiver.visits[0].head
        receiver.script = says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        refused = await asyncio.to_thread(told.cli, "webhooks", "test", url)
        assert refused.returncode == 1
        assert "Answered 404" in refused.stdout


def test_what_cannot_be_is_refused_with_what_would_be_right(told: RunningGateway) -> None:
    bad = told.http.post("/admin/webhooks/test", headers=ADMIN, json={"url": "ftp://x"})
    assert bad.status_code == 400
    assert "http(s)://" in bad.json()["error"]["message"]
    assert told.http.get("/admin/webhooks").status_code == 401
    assert told.http.get("/admin/webhooks?limit=0", headers=ADMIN).status_code == 400
    missing = told.cli("webhooks", "retry", "msg_none")
    assert missing.returncode == 1
    assert "msg_none" in missing.stderr
    unsigned = told.cli("webhooks", "test", "http://127.0.0.1:9/", GATEWAY_WEBHOOK_SECRET="")
    assert unsigned.returncode == 78
    assert "GATEWAY_WEBHOOK_SECRET is not set" in unsigned.stderr


def test_retention_is_the_same_on_the_command_line_and_over_admin(told: RunningGateway) -> None:
    over_admin = told.http.post("/admin/retention", headers=ADMIN, json={"months": 2, "dry_run": True})
    assert over_admin.status_code == 200, over_admin.text
    by_command = json.loads(told.cli("db", "retain", "--months", "2", "--dry-run", "--json").stdout)
    assert over_admin.json() == by_command
    assert told.http.post("/admin/retention", headers=ADMIN, json={"months": 0}).status_code == 400
    assert told.cli("db", "retain", "--months", "0").returncode == 78
    assert told.cli("db", "retain", GATEWAY_RETENTION_MONTHS="0").returncode == 78
    assert "GATEWAY_RETENTION_MONTHS is not set" in told.cli("db", "retain").stdout


async def test_a_budget_that_passes_a_threshold_is_told_once_and_signed(told: RunningGateway) -> None:
    """By two workers, of which both see it."""
    async with scripted(TAKEN) as receiver:
        url = f"http://127.0.0.1:{receiver.origin.port}/hook"
        await asyncio.to_thread(told.key, "watched")
        told.http.put(
            "/admin/budgets",
            headers=ADMIN,
            json={
                "name": "watched",
                "limit_usd": "0.02",
                "window": "day",
                "time_zone": "Europe/Berlin",
                "thresholds": [1, 50],
                "webhook": url,
            },
        ).raise_for_status()
        asked = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Count to 5"}], "max_tokens": 20}

        def spend() -> bool:
            told.post("/v1/chat/completions", asked, team="watched")
            return bool(receiver.visits)

        await asyncio.to_thread(until, spend, 10, what="the first threshold")
        # Told again by nobody, however much more is spent below the next one.
        for _ in range(5):
            await asyncio.to_thread(spend)
        await asyncio.sleep(2.5)
        bodies = [json.loads(visit.body) for visit in receiver.visits]
        assert [body["data"]["threshold_percent"] for body in bodies] == [1]
        data = bodies[0]["data"]
        assert bodies[0]["type"] == "budget.threshold_passed"
        assert (data["scope"], data["name"], data["limit_usd"], data["window"]) == ("team", "watched", "0.02", "day")
        assert float(data["spent_usd"]) >= 0.0002
        assert b"webhook-signature: v1," in receiver.visits[0].head
