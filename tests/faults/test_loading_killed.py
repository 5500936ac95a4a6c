"""Loading a large source outlives `kill -9`: it goes on where it was, with nothing lost and nothing doubled."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gateway.knowledge.stores import Store
from gateway.knowledge.stores.postgresql import PostgresqlStore
from gateway.knowledge.stores.sqlite import SqliteStore
from tests.fakes.postgres import Postgres
from tests.fakes.running_gateway import ROOT, plain_environment

KILLS = 3
WAIT_SECONDS = 1_200.0


class Loading:
    """A policies folder with one collection over a JSONL file, and `gateway knowledge sync` over it."""

    def __init__(self, folder: Path, documents: int, database: str | None) -> None:
        self.folder = folder
        self.documents = documents
        self.database = database
        policies = folder / "policies"
        policies.mkdir()
        (policies / "routing.yaml").write_text("rules:\n  - {name: all, use: {path: direct}}\n")
        (policies / "models.yaml").write_text(
            'upstreams:\n  main: {base_url: "http://127.0.0.1:9/v1"}\nmodels:\n  "*": {upstream: main}\n'
        )
        (policies / "knowledge.yaml").write_text(
            f"collections:\n  big:\n    teams: ['*']\n    sources: [{{kind: jsonl, path: {folder / 'big.jsonl'}}}]\n"
        )
        with (folder / "big.jsonl").open("w") as file:
            for n in range(documents):
                text = f"Item {n} costs {n % 977} crowns and weighs {n % 331} grams. " * 3
                file.write(json.dumps({"id": f"d{n}", "title": f"Item {n}", "text": text}) + "\n")
        past = time.time() - 100
        os.utime(folder / "big.jsonl", (past, past))

    def begin(self) -> subprocess.Popen[str]:
        environment = plain_environment() | {
            "GATEWAY_DATA": str(self.folder / "data"),
            "GATEWAY_POLICIES": str(self.folder / "policies"),
        }
        if self.database is not None:
            environment["GATEWAY_DATABASE_URL"] = self.database
        return subprocess.Popen(
            [sys.executable, "-m", "gateway", "knowledge", "sync", "--json"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ask(self, what: str) -> Any:
        """Of a store opened for this one question: its counts, its versions, or all ids."""

        async def asked() -> Any:
            store: Store
            if self.database is not None:
                store = PostgresqlStore(self.database)
            else:
                store = SqliteStore(self.folder / "data" / "knowledge.db")
            try:
                if what == "counts":
                    return (await store.counts()).get("big", (0, 0))
                return await store.documents("big", f"jsonl:{self.folder / 'big.jsonl'}")
            finally:
                await store.close()

        return asyncio.run(asked())

    def kill_at(self, documents: int) -> None:
        """Kills a loading as soon as the store has so many; it must not have ended before."""
        process = self.begin()
        deadline = time.monotonic() + WAIT_SECONDS
        try:
            while self._count() < documents:
                assert process.poll() is None, "it ended before it could be killed"
                assert time.monotonic() < deadline
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()

    def _count(self) -> int:
        if self.database is None and not (self.folder / "data" / "knowledge.db").exists():
            return 0
        try:
            count: int = self.ask("counts")[0]
        except Exception:  # noqa: BLE001  # before the first migration there is no table to count
            return 0
        return count


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("documents", [6_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_a_loading_that_is_killed_again_and_again_ends_whole(
    tmp_path: Path, kind: str, documents: int, request: pytest.FixtureRequest
) -> None:
    database = None
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        database = server.fresh()
    loading = Loading(tmp_path, documents, database)
    for kill in range(1, KILLS + 1):
        loading.kill_at(documents * kill // (KILLS + 1))
    last = loading.begin()
    out, err = last.communicate(timeout=WAIT_SECONDS)
    assert last.returncode == 0, err
    report = json.loads(out)
    # It went on and did not begin again: what the killed ones had marked is not told to it a second time.
    assert 0 < report["added"] < documents / 2
    assert (report["updated"], report["removed"]) == (0, 0)
    assert loading.ask("counts")[0] == documents
    assert loading.ask("documents") == {f"d{n}" for n in range(documents)}
