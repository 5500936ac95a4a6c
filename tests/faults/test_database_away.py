"""The database is locked or gone for a while: calls are served, and their rows come later."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until

ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Count to 5"}]}


@pytest.fixture
def gateway(tmp_path: Path, running_upstream: OfflineServer) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path / "g", running_upstream.base_url) as running:
        running.key("patient")
        yield running


def test_a_locked_database_delays_rows_and_no_call(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """Another process holds SQLite's write lock for some seconds."""
    other = sqlite3.connect(gateway.data / "gateway.db", isolation_level=None)
    slowest = 0.0
    with contextlib.closing(other):
        other.execute("BEGIN EXCLUSIVE")
        ends = time.monotonic() + 2.5
        served = 0
        while time.monotonic() < ends:
            began = time.monotonic()
            assert gateway.post("/v1/chat/completions", ASKED, team="patient").status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            served += 1
            time.sleep(0.02)
        assert gateway.rows("team = 'patient'") == []
        assert gateway.counted("gateway_journal_pending_events") == served
        assert gateway.http.get("/readyz").status_code == 200
        other.execute("COMMIT")
    assert slowest < 0.5
    assert len(gateway.rows_of("patient", served)) == served
    until(lambda: gateway.counted("gateway_journal_pending_events") == 0, 3, what="an empty journal")


def test_rows_survive_a_kill_while_the_database_is_locked(gateway: RunningGateway, upstream: OfflineServer) -> None:
    other = sqlite3.connect(gateway.data / "gateway.db", isolation_level=None)
    with contextlib.closing(other):
        other.execute("BEGIN EXCLUSIVE")
        for _ in range(25):
            assert gateway.post("/v1/chat/completions", ASKED, team="patient").status_code == 200
        gateway.kill()
        other.execute("ROLLBACK")
    gateway.start()
    rows = gateway.rows_of("patient", 25)
    assert {row["usage_source"] for row in rows} == {"provider"}


def test_a_database_that_is_broken_under_way_delays_rows_and_no_call(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    """Its table is gone for a second: everything that the database says but 'done' leaves the rows in the journal."""
    with contextlib.closing(sqlite3.connect(gateway.data / "gateway.db", isolation_level=None, timeout=10)) as other:
        other.execute("ALTER TABLE usage_events RENAME TO elsewhere")
        for _ in range(10):
            assert gateway.post("/v1/chat/completions", ASKED, team="patient").status_code == 200
        until(lambda: "shipping_failed" in gateway.log(), 5, what="a line in the log")
        other.execute("ALTER TABLE elsewhere RENAME TO usage_events")
    assert len(gateway.rows_of("patient", 10, 12)) == 10
