"""Where commands find the gateway's things: settings, database, policies."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gateway.core.errors import BadConfiguration
from gateway.core.settings import Settings, environment, read_settings

Result = TypeVar("Result")


def settings(**given: object) -> Settings:
    """Settings of the environment, with what the command line gave above them."""
    return read_settings(environment(), **given)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs one command's work."""
    return asyncio.run(work)


def make_data_folder(found: Settings) -> None:
    """Makes the folder that everything is kept in. Raises BadConfiguration when it cannot be had."""
    try:
        found.data.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise BadConfiguration([f"{found.data}: {fault.strerror}; GATEWAY_DATA names a folder to write to."]) from None


@asynccontextmanager
async def database(found: Settings) -> AsyncIterator[Any]:
    """The database, at the schema this version needs."""
    from gateway.db.engine import Database
    from gateway.db.schema import require_head, upgrade

    make_data_folder(found)
    opened = Database(found.database_url)
    try:
        # Where an init job migrates, no command does it on the way.
        await (upgrade if found.migrates else require_head)(opened)
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
