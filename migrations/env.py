"""Alembic's entry: one connection, one lock, the tables of all packages."""

import asyncio

from alembic import context
from sqlalchemy import create_engine, pool, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

# Imported for their tables, which register themselves.
import gateway.db.tables
import gateway.identity.tables
import gateway.ledger.leases.tables
import gateway.ledger.tables
import gateway.ledger.webhooks.tables  # noqa: F401

target_metadata = SQLModel.metadata
# Any number, the same in every replica: who holds it migrates, the others wait and find the work done.
LOCK = 7_202_611_23
LOCK_SECONDS = 60


def sync_url(url: str) -> str:
    """The URL with a driver that needs no event loop."""
    return url.replace("+aiosqlite", "")


def run() -> None:
    url = context.config.attributes["url"]
    if url.startswith("postgresql"):
        run_async(url)
        return
    engine = create_engine(sync_url(url), poolclass=pool.NullPool, connect_args={"timeout": LOCK_SECONDS})
    with engine.connect() as connection:
        # Takes SQLite's write lock before reading the revision: of two processes, the second sees the first's work.
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        configure(connection)
        connection.commit()


def configure(connection) -> None:
    context.configure(connection=connection, target_metadata=target_metadata, render_as_batch=True)
    context.run_migrations()


def run_async(url: str) -> None:
    async def work() -> None:
        engine = create_async_engine(url, poolclass=pool.NullPool)
        async with engine.connect() as connection:
            await connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
            # A session lock, not a transaction's: it outlives the migrations' own commits.
            await connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
            await connection.commit()
            try:
                await connection.run_sync(configure)
                await connection.commit()
            finally:
                await connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
                await connection.commit()
        await engine.dispose()

    asyncio.run(work())


run()
