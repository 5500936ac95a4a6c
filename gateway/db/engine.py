"""One engine for SQLite and PostgreSQL."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from gateway.core.errors import BadConfiguration

# A second process may hold SQLite's one write lock for as long as a large batch takes.
BUSY_SECONDS = 30
CONNECT_SECONDS = 5
COMMAND_SECONDS = 20


class _Connection(sqlite3.Connection):
    def close(self) -> None:
        """As it is, but without a transaction left behind.

        SQLite puts the end off while a cursor of the connection lives, and with it the release of the write lock. A
        cancelled task's cursor lives in its traceback, until the garbage collector comes by.
        """
        if self.in_transaction:
            self.rollback()
        super().close()


class Database:
    """Sessions of one database. `dialect` is `sqlite` or `postgresql`.

    Raises BadConfiguration for a URL of no known kind or without an async driver.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # What a statement is about is a team's own: a fault that is logged must not tell it.
        arguments: dict[str, object] = {"hide_parameters": True}
        if url.startswith("sqlite"):
            arguments["connect_args"] = {"timeout": BUSY_SECONDS, "factory": _Connection}
        else:
            arguments |= {"pool_size": 5, "max_overflow": 5, "pool_pre_ping": True, "pool_timeout": CONNECT_SECONDS}
            # Without them a server that takes a connection and then says nothing holds a task for ever.
            arguments["connect_args"] = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS}
        try:
            self.engine: AsyncEngine = create_async_engine(url, **arguments)
        except (SQLAlchemyError, ImportError) as fault:
            told = f"GATEWAY_DATABASE_URL names no database that can be used: {fault}"
            raise BadConfiguration([told.partition("\n")[0]]) from fault
        self.dialect = self.engine.dialect.name
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        if self.dialect == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)

    def insert(self, table: Any) -> Any:
        """An INSERT into a Table or mapped class, which can say what is done on a conflict."""
        return (postgresql.insert if self.dialect == "postgresql" else sqlite.insert)(table)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session in a transaction: committed at the end, rolled back on any exception."""
        async with self._sessions() as session, session.begin():
            yield session

    async def close(self) -> None:
        """Ends all connections."""
        await self.engine.dispose()


def _prepare_sqlite(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection, which has no type
    cursor.execute("PRAGMA journal_mode=WAL")
    # The journal is what survives a crash; the database may lose its last commits and gets them again.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
