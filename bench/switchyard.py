"""The gateway under measurement: its own process, data folder, keys and policy; nothing switched off."""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import insert

from bench.place import free_port
from bench.process import Process, clean_environment
from gateway.core.ids import new_id
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.identity.keys import SHOWN, digest_of, new_key
from gateway.identity.store import IdentityStore
from gateway.identity.tables import ApiKeyRow

PEPPER = "bench-pepper-bench-pepper"
UPSTREAM_KEY = "sk-bench-upstream"
ROWS_AT_ONCE = 1000


class Switchyard:
    """One gateway. folder: gets its data; policies: what it reads. `with` ends it."""

    def __init__(
        self,
        folder: Path,
        policies: Path,
        on: Sequence[int],
        *,
        workers: int = 1,
        keys: int = 1,
        teams: int = 1,
        key: str = "",
        database_url: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """key: one made before, for a second start on the same data. database_url: SQLite without one."""
        self.port = free_port()
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.database_url = database_url or f"sqlite+aiosqlite:///{self.data / 'gateway.db'}"
        self.key = key or asyncio.run(_seed(self.database_url, keys, teams))
        environment = clean_environment() | {
            "GATEWAY_DATA": str(self.data),
            "GATEWAY_POLICIES": str(policies),
            "GATEWAY_KEY_PEPPER": PEPPER,
            "BENCH_UPSTREAM_KEY": UPSTREAM_KEY,
            "GATEWAY_DATABASE_URL": self.database_url,
            **(variables or {}),
        }
        command = [sys.executable, "-m", "gateway", "serve", "--port", str(self.port), "--workers", str(workers)]
        self.process = Process(command, on, folder / "log", environment)
        try:
            self.ready_seconds = self.process.wait_ready(self.port, "/readyz")
        except BaseException:
            self.process.stop()
            raise

    @property
    def url(self) -> str:
        """Its base URL, `/v1` included."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def headers(self) -> dict[str, str]:
        """What a caller sends."""
        return {"authorization": f"Bearer {self.key}"}

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.data / "gateway.db"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()


async def _seed(url: str, keys: int, teams: int) -> str:
    database = Database(url)
    try:
        await upgrade(database)
        store = IdentityStore(database, PEPPER.encode())
        budget = 1_000_000 * 10**9
        await store.create_team("bench", "", budget, actor="admin")
        for number in range(teams - 1):
            await store.create_team(f"team-{number}", "", budget, actor="admin")
        text, _ = await store.create_key("bench", "bench", actor="admin")
        # Straight into the table: making them one by one would take longer than measuring them.
        for start in range(0, keys - 1, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, keys - 1 - start)
            async with database.session() as session:
                await session.execute(insert(ApiKeyRow), [_row(start + place, teams) for place in range(count)])
    finally:
        await database.close()
    return text


def _row(number: int, teams: int) -> dict[str, object]:
    key = new_key()
    return {
        "id": new_id("key"),
        "team": "bench" if teams == 1 else f"team-{number % (teams - 1)}",
        "name": f"key-{number}",
        "prefix": key[:SHOWN],
        "digest": digest_of(PEPPER.encode(), key).hex(),
        "debug": False,
        "created_at": time.time(),
        "expires_at": None,
        "revoked_at": None,
    }
