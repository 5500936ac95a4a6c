"""PostgreSQL without an ORM between: asyncpg's own connections, for statements that SQLAlchemy only slows down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from gateway.db.engine import COMMAND_SECONDS, CONNECT_SECONDS, Database

# What is raised when the server is away, slow, or refuses a statement.
DIRECT_FAULTS: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
CONNECTIONS = 10
# Of the URL, what SQLAlchemy keeps for itself.
_NOT_ASYNCPG = ("prepared_statement_cache_size", "prepared_statement_name_func", "async_creator_fn", "async_fallback")


class _Kept(asyncpg.Connection):  # type: ignore[misc]  # the library has no types
    def get_reset_query(self) -> str:
        """Nothing: no session state outlives its transaction here, and the question would cost a round trip."""
        return ""


class Direct:
    """A pool of its own beside the ORM's, at most 10 connections, none before the first use.

    url: SQLAlchemy's, as `Database` takes it. Belongs to one event loop. Raises BadConfiguration for a bad URL.
    """

    def __init__(self, url: str) -> None:
        self._arguments = _arguments(url)
        self._pool: Any = None
        self._making = asyncio.Lock()
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """An asyncpg connection, in no transaction. Raises DIRECT_FAULTS."""
        if self._closed:
            raise asyncpg.InterfaceError("the pool is closed")
        if self._pool is None:
            async with self._making:
                if self._pool is None:
                    self._pool = await self._made()
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        """A connection in a transaction that sees one moment and writes nothing."""
        async with self.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        """A connection in a transaction: committed at the end, rolled back on any exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def close(self) -> None:
        """Ends all connections; those in use are waited for, for a while."""
        self._closed = True
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), CONNECT_SECONDS)
            except TimeoutError:
                self._pool.terminate()

    async def _made(self) -> Any:
        return await asyncpg.create_pool(
            min_size=0,
            max_size=CONNECTIONS,
            connection_class=_Kept,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            **self._arguments,
        )


def _arguments(url: str) -> dict[str, Any]:
    dialect = Database(url).engine.dialect
    _, found = dialect.create_connect_args(make_url(url))
    cached = found.get("prepared_statement_cache_size")
    kept = {name: value for name, value in found.items() if name not in _NOT_ASYNCPG}
    if cached is not None and int(str(cached)) == 0:
        # Who turns the cache off stands behind a pooler that hands out another server connection each time.
        kept["statement_cache_size"] = 0
    return kept
