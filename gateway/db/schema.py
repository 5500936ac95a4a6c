"""Whether the database has the schema that this code needs, and bringing it there."""

import asyncio
import importlib
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway.core.errors import BadConfiguration
from gateway.core.settings import environment
from gateway.db.engine import Database

# The newest revision under migrations/versions; a test compares the two.
HEAD = "0002"
IN_CHECKOUT = Path(__file__).resolve().parents[2] / "migrations"


async def revision(database: Database) -> str | None:
    """The revision the database stands at; None for an empty one.

    Raises BadConfiguration when the database cannot be read.
    """
    try:
        async with database.engine.connect() as connection:
            found = await connection.execute(text("SELECT version_num FROM alembic_version"))
            row = found.first()
    except (SQLAlchemyError, OSError) as fault:
        if _no_table(fault):
            return None
        # SQLite's driver still has a word for the loop, from its thread; gone, the loop would be a traceback.
        await asyncio.sleep(0.05)
        raise _unusable(fault) from fault
    return None if row is None else str(row[0])


def _unusable(fault: Exception) -> BadConfiguration:
    # The driver's own words name host and user; SQLAlchemy's would add the statement.
    reason = str(getattr(fault, "orig", None) or fault).partition("\n")[0]
    return BadConfiguration([f"the database cannot be used: {reason}. GATEWAY_DATABASE_URL says where it is."])


def _no_table(fault: Exception) -> bool:
    message = str(fault).lower()
    return "no such table" in message or 'relation "alembic_version" does not exist' in message


async def upgrade(database: Database) -> bool:
    """Brings the schema to HEAD; False when it stood there already.

    Alembic takes 0.25 s to import, so it is asked only when there is something to do. Raises
    BadConfiguration when the database cannot be read or written, or is newer than this code.
    """
    found = await revision(database)
    if found == HEAD:
        return False
    if found is not None and found > HEAD:
        await require_head(database)
    try:
        await asyncio.to_thread(_run, database.url)
    except (SQLAlchemyError, OSError) as fault:
        raise _unusable(fault) from fault
    return True


def _run(url: str) -> None:
    command = importlib.import_module("alembic.command")
    config = importlib.import_module("alembic.config").Config()
    # An installed package has no checkout around it: there the image says where they are.
    config.set_main_option("script_location", environment().get("GATEWAY_MIGRATIONS") or str(IN_CHECKOUT))
    config.attributes["url"] = url
    command.upgrade(config, "head")


async def require_head(database: Database) -> None:
    """Raises BadConfiguration when the schema is older or newer than this code."""
    found = await revision(database)
    if found != HEAD:
        raise BadConfiguration(
            [f"the database stands at revision {found or 'none'}, this version needs {HEAD}: run `gateway db upgrade`."]
        )
