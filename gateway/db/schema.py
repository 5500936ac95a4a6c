"""Whether the database has a schema that this code can work on, and bringing it there.

Expand and contract: a migration first only adds, so that the version before can go on beside the new one; what nobody
needs any more goes in a later one. `schema_floor` says how far that has come: the oldest code that the schema admits.
"""

import asyncio
import contextlib
import importlib
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway.core.errors import BadConfiguration, DatabaseAway
from gateway.core.settings import environment
from gateway.db.engine import Database

# The newest revision under migrations/versions; a test compares the two.
HEAD = "0012"
IN_CHECKOUT = Path(__file__).resolve().parents[2] / "migrations"
# How long a migrator waits for another one that is at work.
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.5


async def revision(database: Database) -> str | None:
    """The revision the database stands at; None for an empty one.

    Raises BadConfiguration when the database cannot be read.
    """
    return await _one(database, "alembic_version", "version_num")


async def floor(database: Database) -> str | None:
    """The oldest revision whose code can work on the schema; None where the schema does not say.

    Raises BadConfiguration when the database cannot be read.
    """
    return await _one(database, "schema_floor", "oldest")


async def _one(database: Database, table: str, column: str) -> str | None:
    try:
        async with database.engine.connect() as connection:
            found = await connection.execute(text(f"SELECT {column} FROM {table}"))  # noqa: S608  # our own names
            row = found.first()
    except (SQLAlchemyError, OSError) as fault:
        if _no_table(fault, table):
            return None
        # SQLite's driver still has a word for the loop, from its thread; gone, the loop would be a traceback.
        await asyncio.sleep(0.05)
        raise _unusable(fault) from fault
    return None if row is None else str(row[0])


def _unusable(fault: Exception) -> DatabaseAway:
    # The driver's own words name host and user; SQLAlchemy's would add the statement.
    reason = str(getattr(fault, "orig", None) or fault).partition("\n")[0]
    return DatabaseAway([f"the database cannot be used: {reason}. GATEWAY_DATABASE_URL says where it is."])


def _no_table(fault: Exception, table: str) -> bool:
    message = str(fault).lower()
    return "no such table" in message or f'relation "{table}" does not exist' in message


async def upgrade(database: Database, wait_seconds: float = WAIT_SECONDS) -> bool:
    """Brings the schema to HEAD; False when it stood there already, or further and this code can work on it.

    Alembic takes 0.25 s to import, so it is asked only when there is something to do. Raises BadConfiguration when
    the database cannot be read or written, when it is newer and no longer for this code, and when another migrator
    is not done within `wait_seconds`.
    """
    if await fits(database):
        return False
    try:
        await asyncio.to_thread(_run, database.url, wait_seconds)
    except (SQLAlchemyError, OSError) as fault:
        raise _unusable(fault) from fault
    return True


def _run(url: str, wait_seconds: float) -> None:
    command = importlib.import_module("alembic.command")
    config = importlib.import_module("alembic.config").Config()
    # An installed package has no checkout around it: there the image says where they are.
    config.set_main_option("script_location", environment().get("GATEWAY_MIGRATIONS") or str(IN_CHECKOUT))
    config.attributes["url"] = url
    config.attributes["wait_seconds"] = wait_seconds
    command.upgrade(config, "head")


async def fits(database: Database) -> bool:
    """Whether this code can work on the schema; False when the schema is older and must be upgraded.

    Raises BadConfiguration when it is newer and no longer for this code, or cannot be read.
    """
    found = await revision(database)
    if found is None or found < HEAD:
        return False
    if found == HEAD:
        return True
    oldest = await floor(database)
    if oldest is None or oldest > HEAD:
        told = (
            f"the database stands at revision {found}, which needs code of revision {oldest or found} or later; "
            f"this version is {HEAD}: run the newer version, or restore a backup from before its upgrade."
        )
        raise BadConfiguration([told])
    return True


async def until_fits(database: Database) -> None:
    """Waits until somebody has upgraded the schema. A database that is away meanwhile is waited for too."""
    while True:
        with contextlib.suppress(DatabaseAway):
            if await fits(database):
                return
        await asyncio.sleep(LOOK_SECONDS)


async def require_head(database: Database) -> None:
    """Raises BadConfiguration when this code cannot work on the schema."""
    if not await fits(database):
        found = await revision(database)
        raise BadConfiguration(
            [f"the database stands at revision {found or 'none'}, this version needs {HEAD}: run `gateway db upgrade`."]
        )
