"""A real database in a file, with the schema that the code needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.core.settings import database_url
from gateway.db.engine import Database
from gateway.db.schema import upgrade


@asynccontextmanager
async def database(folder: Path) -> AsyncIterator[Database]:
    """SQLite under `folder`, brought to the newest revision."""
    opened = Database(database_url(None, folder))
    try:
        await upgrade(opened)
        yield opened
    finally:
        await opened.close()
