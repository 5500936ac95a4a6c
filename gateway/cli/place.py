"""Where commands find the gateway's things: settings, database, policies."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gateway.core.settings import Settings, environment, read_settings

Result = TypeVar("Result")


def settings(**given: object) -> Settings:
    """Settings of the environment, with what the command line gave above them."""
    return read_settings(environment(), **given)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs one command's work."""
    return asyncio.run(work)


@asynccontextmanager
async def database(found: Settings) -> AsyncIterator[Any]:
    """The database, at the schema this version needs."""
    from gateway.db.engine import Database
    from gateway.db.schema import upgrade

    found.data.mkdir(parents=True, exist_ok=True)
    opened = Database(found.database_url)
    try:
        await upgrade(opened)
        yield opened
    finally:
        await opened.close()


@asynccontextmanager
async def identity(found: Settings) -> AsyncIterator[Any]:
    """Teams and keys."""
    from gateway.identity.pepper import read_pepper
    from gateway.identity.store import IdentityStore

    async with database(found) as opened:
        yield IdentityStore(opened, read_pepper(found.data, found.pepper))
