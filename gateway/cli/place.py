"""Where commands find the gateway's things: settings, database, policies."""

import asyncio
import os
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


def actor() -> str:
    """Who runs this command, for the audit log: by the account, which no variable can claim."""
    import pwd

    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        # An image may run under a number that has no name.
        return f"cli:{os.getuid()}"


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


@asynccontextmanager
async def access(found: Settings) -> AsyncIterator[Any]:
    """Role keys and members."""
    from gateway.identity.access.store import AccessStore
    from gateway.identity.pepper import read_pepper

    async with database(found) as opened:
        yield AccessStore(opened, read_pepper(found.data, found.pepper))
