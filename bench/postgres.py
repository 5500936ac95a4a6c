"""The PostgreSQL of a run, from the wheel that the tests use, and a door in front of it that can be shut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from bench.place import Unavailable, all_cores, pin_here
from tests.fakes.postgres import Postgres, running_postgres


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server of this run. Raises Unavailable where the wheel does not run."""
    # Its processes get all cores: it is not what is measured.
    os.sched_setaffinity(0, all_cores())
    try:
        with running_postgres() as server:
            pin_here()
            yield server
    except ImportError as fault:
        raise Unavailable(f"no PostgreSQL from the wheel: {fault}") from None


async def connect(server: Postgres, url: str) -> Any:
    """A plain connection to a database of the server."""
    name = url.partition("@/")[2].partition("?")[0]
    return await asyncpg.connect(host=str(server.folder), user="postgres", database=name, ssl=False)
