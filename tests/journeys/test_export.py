"""A gateway that exports its rows to Parquet: what an analyst reads is what the books say, also after a kill."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, running_gateway, until


@pytest.fixture
def exporting(tmp_path: Path, upstream: OfflineServer) -> Iterator[RunningGateway]:
    environment = {"GATEWAY_EXPORT": f"parquet:{tmp_path / 'out'}"}
    with running_gateway(tmp_path / "gateway", upstream.base_url, environment=environment) as running:
        yield running


def exported(folder: Path) -> list[tuple[Any, ...]]:
    if not list(folder.glob("*/*.parquet")):
        return []
    found = duckdb.sql(f"SELECT id, team, cost_nano_usd FROM read_parquet('{folder}/*/*.parquet') ORDER BY id")
    assert found is not None
    return found.fetchall()


def booked(gateway: RunningGateway) -> list[tuple[Any, ...]]:
    return sorted((row["id"], row["team"], row["cost_nano_usd"]) for row in gateway.rows())


def call(gateway: RunningGateway, times: int) -> None:
    client = gateway.client("analysts")
    for _ in range(times):
        client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "Hello"}])


def test_exported_rows_equal_the_books_after_a_stop_and_after_a_kill(exporting: RunningGateway, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call(exporting, 10)
    exporting.terminate()
    assert len(exported(out)) == 10
    assert exported(out) == booked(exporting)
    exporting.start()
    call(exporting, 7)
    exporting.rows_of("analysts", 17)
    exporting.kill()
    exporting.start()
    until(lambda: len(exported(out)) >= 17, 20, what="the export of what the dead process left")
    exporting.terminate()
    assert exported(out) == booked(exporting)
    assert len(exported(out)) == 17
    assert list((exporting.data / "journal" / "export").iterdir()) == []


def test_a_target_that_is_none_ends_the_start_with_what_would_be_right(exporting: RunningGateway) -> None:
    told = exporting.cli("serve", "--check", GATEWAY_EXPORT="csv:/tmp")
    assert told.returncode == 78
    assert "it must be parquet:/folder" in told.stderr
