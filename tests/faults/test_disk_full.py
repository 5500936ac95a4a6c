"""The disk under the journal is full: no billable call without a trace of it, and no operator needed afterwards."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import A_SECOND, RunningGateway, running_gateway, until

ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Count to 5"}]}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False)
    if made.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def gateway(tmp_path: Path, small_disk: Path, running_upstream: OfflineServer) -> Iterator[RunningGateway]:
    """Its journal on the small disk, its database elsewhere."""
    database = f"sqlite:///{tmp_path / 'gateway.db'}"
    with running_gateway(
        tmp_path / "g", running_upstream.base_url, environment={"GATEWAY_DATABASE_URL": database}, is_started=False
    ) as running:
        running.data.mkdir()
        (running.data / "journal").symlink_to(small_disk)
        running.start()
        (running.data / "gateway.db").symlink_to(tmp_path / "gateway.db")
        yield running


def fill(folder: Path) -> Path:
    """Takes every byte that is left."""
    filler = folder / "filler"
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (65536, 4096, 512, 64, 8, 1):
        with contextlib.suppress(OSError):
            while os.write(handle, b"x" * size):
                continue
    os.close(handle)
    return filler


def test_a_full_disk_refuses_calls_until_there_is_room_again(
    gateway: RunningGateway, upstream: OfflineServer, small_disk: Path
) -> None:
    assert gateway.post("/v1/chat/completions", ASKED).status_code == 200
    filler = fill(small_disk)
    # What the journal's last page still has room for is served, and booked.
    refused = until(
        lambda: reply if (reply := gateway.post("/v1/chat/completions", ASKED)).status_code != 200 else None,
        what="a refusal",
    )
    assert refused.status_code == 503
    error = refused.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["code"], refused.headers["retry-after"]) == ("accounting_unavailable", "1")
    billed = upstream.bill()["count"]
    for _ in range(10):
        assert gateway.post("/v1/chat/completions", ASKED | {"stream": True}).status_code == 503
        assert gateway.post("/v1/brand/new", {"model": "gpt-4o"}).status_code == 503
    assert upstream.bill()["count"] == billed
    assert gateway.http.get("/healthz").status_code == 200
    assert gateway.http.get("/v1/models", headers={"authorization": f"Bearer {gateway.key()}"}).status_code == 200
    filler.unlink()
    until(lambda: gateway.post("/v1/chat/completions", ASKED).status_code == 200, A_SECOND, what="service")
    bill = upstream.bill()["rows"]
    rows = until(lambda: rows if len(rows := gateway.rows("attempt > 0")) >= len(bill) else None)
    assert sorted(row["id"] for row in rows) == sorted(row["attempt"] for row in bill)
    assert all(row["usage_source"] == "provider" for row in rows)


def test_a_gateway_killed_on_a_full_disk_loses_nothing_that_was_billed(
    gateway: RunningGateway, upstream: OfflineServer, small_disk: Path
) -> None:
    """The intent is on the disk even where the end is not."""
    filler = fill(small_disk)
    until(lambda: gateway.post("/v1/chat/completions", ASKED).status_code == 503, what="a refusal")
    gateway.kill()
    filler.unlink()
    bill = {row["attempt"] for row in upstream.bill()["rows"]}
    gateway.start()
    assert bill <= {row["id"] for row in gateway.rows()}
