"""Several processes on one port: all serve, their counters add up, and a dead one is replaced."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Count to 5"}]}
CALLS = 60


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, running_upstream: OfflineServer) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("workers")
    with running_gateway(folder, running_upstream.base_url, workers=2) as running:
        until(lambda: len(workers_of(running)) == 2, 5, what="two workers")
        until(lambda: len(list((running.data / "journal").glob("*.lock"))) == 2, 10, what="two journals")
        yield running


def workers_of(gateway: RunningGateway) -> list[int]:
    assert gateway.process is not None
    children = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def journals(gateway: RunningGateway) -> set[str]:
    """Journals that something was written to."""
    return {path.name for path in (gateway.data / "journal").glob("*.journal") if path.stat().st_size}


def call(gateway: RunningGateway, key: str, count: int = CALLS) -> list[int]:
    """Each on a connection of its own, which is what spreads them."""
    headers = {"authorization": f"Bearer {key}"}
    statuses = []
    for _ in range(count):
        with httpx2.Client(timeout=10) as client:
            statuses.append(
                client.post(f"{gateway.base_url}/chat/completions", json=ASKED, headers=headers).status_code
            )
    return statuses


def settled_key(gateway: RunningGateway, team: str) -> str:
    """A key that all workers know by now; each asks the database every 0.4 seconds."""
    key = gateway.key(team)
    time.sleep(1.0)
    return key


def test_two_workers_serve_and_their_counters_add_up(gateway: RunningGateway, upstream: OfflineServer) -> None:
    key = settled_key(gateway, "spread")
    assert set(call(gateway, key)) == {200}
    assert len(journals(gateway)) >= 2
    rows = gateway.rows_of("spread", CALLS)
    for _ in range(4):
        # Whichever worker a scrape falls to, it tells of all.
        with httpx2.Client(timeout=10) as fresh:
            gateway.http, kept = fresh, gateway.http
            fresh.base_url = gateway.url
            assert gateway.counted("gateway_requests_total", team="spread") == CALLS
            tokens = gateway.counted("gateway_tokens_total", team="spread", kind="output")
            gateway.http = kept
        assert tokens == sum(row["output_tokens"] for row in rows)
    assert gateway.counted("gateway_policy_info") == 1


def rules_said(gateway: RunningGateway, key: str, count: int) -> set[str]:
    """The rule that decided each of some calls, each on a connection of its own."""
    said = set()
    for _ in range(count):
        with httpx2.Client(timeout=10) as client:
            reply = client.post(
                f"{gateway.base_url}/chat/completions", json=ASKED, headers={"authorization": f"Bearer {key}"}
            )
        said.add(reply.headers["x-gateway-rule"])
    return said


def test_all_workers_agree_on_a_new_policy_within_a_second(gateway: RunningGateway) -> None:
    """A faulty one is taken by none of them."""
    key = settled_key(gateway, "agree")
    routing = gateway.policies / "routing.yaml"
    good = routing.read_text()
    for round_number in range(3):
        routing.write_text(good.replace("- name: everything-else", f"- name: round-{round_number}"))
        # The promise is a second; the machine is shared.
        time.sleep(1.5)
        assert rules_said(gateway, key, 24) == {f"round-{round_number}"}
    routing.write_text("rules: [")
    time.sleep(1.5)
    assert rules_said(gateway, key, 24) == {"round-2"}
    routing.write_text(good)
    time.sleep(1.5)
    assert rules_said(gateway, key, 24) == {"everything-else"}


def test_a_worker_that_is_killed_is_replaced_and_its_calls_are_booked(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    key = settled_key(gateway, "killed")
    assert set(call(gateway, key, 20)) == {200}
    before = workers_of(gateway)
    os.kill(before[1], signal.SIGKILL)
    until(
        lambda: len(now := workers_of(gateway)) == 2 and before[1] not in now,
        10,
        what="a worker in the dead one's place",
    )
    until(lambda: all(status == 200 for status in call_bravely(gateway, key)), 15, what="service")
    bill = upstream.bill()["rows"]
    rows = until(lambda: found if len(found := gateway.rows("team = 'killed'")) >= len(bill) else None, 10)
    assert sorted(row["id"] for row in rows) == sorted(row["attempt"] for row in bill)
    assert gateway.counted("gateway_requests_total", team="killed") == len(bill)
    until(lambda: gateway.counted("gateway_in_flight") == 0, 5, what="no call of a dead worker in flight")


def call_bravely(gateway: RunningGateway, key: str) -> list[int]:
    try:
        return call(gateway, key, 10)
    except httpx2.TransportError:
        return [0]


def test_a_worker_that_dies_with_calls_in_flight_leaves_rows_and_no_ghosts(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    """gateway_in_flight counts the living."""
    key = settled_key(gateway, "ghosts")
    upstream.lay(delay_ms=1_500, times=8)
    threads = [threading.Thread(target=call_one, args=(gateway, key)) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: gateway.counted("gateway_in_flight") >= 8, 3, what="eight calls in flight")
    for pid in workers_of(gateway):
        os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join(timeout=10)
    until(gateway._is_ready, 15, what="readiness")
    rows = until(lambda: found if len(found := gateway.rows("team = 'ghosts'")) >= 8 else None, 10)
    assert {row["outcome"] for row in rows} == {"interrupted"}
    assert gateway.counted("gateway_in_flight") == 0


def call_one(gateway: RunningGateway, key: str) -> None:
    try:
        call(gateway, key, 1)
    except httpx2.TransportError:
        return


def test_when_all_drain_on_sigterm_nobody_is_left(gateway: RunningGateway, upstream: OfflineServer) -> None:
    workers = workers_of(gateway)
    assert gateway.terminate() == 0
    for pid in workers:
        assert not Path(f"/proc/{pid}").exists()
