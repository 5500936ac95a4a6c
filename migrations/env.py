"""Alembic's entry: one migrator at a time, with bounded waits; the tables of all packages."""

import asyncio
import time

from alembic import context
from sqlalchemy import create_engine, pool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

# Imported for their tables, which register themselves.
import gateway.batches.tables
import gateway.db.tables
import gateway.files.tables
import gateway.identity.tables
import gateway.knowledge.vector_stores.tables
import gateway.ledger.jobs.tables
import gateway.ledger.leases.tables
import gateway.ledger.tables
import gateway.ledger.webhooks.tables
import gateway.tuning.captured.tables
import gateway.tuning.evals.tables
import gateway.tuning.feedback.tables
import gateway.tuning.jobs.tables
import gateway.tuning.lines.tables
import gateway.tuning.retraining.tables  # noqa: F401
from gateway.core.errors import BadConfiguration

target_metadata = SQLModel.metadata
# Any number, the same in every replica: who holds it migrates, the others wait and find the work done.
LOCK = 7_202_611_23
WAIT_SECONDS = 60.0
LOOK_SECONDS = 0.1
# A change of a table waits for whoever reads it, and all others wait behind the change: not longer than this at once.
DDL_LOCK_SECONDS = 3
TRIES = 10
LOCK_NOT_AVAILABLE = "55P03"


def sync_url(url: str) -> str:
    """The URL with a driver that needs no event loop."""
    return url.replace("+aiosqlite", "")


def run() -> None:
    url = context.config.attributes["url"]
    wait_seconds = float(context.config.attributes.get("wait_seconds", WAIT_SECONDS))
    if url.startswith("postgresql"):
        asyncio.run(run_on_postgres(url, wait_seconds))
        return
    engine = create_engine(sync_url(url), poolclass=pool.NullPool, connect_args={"timeout": wait_seconds})
    with engine.connect() as connection:
        # Takes SQLite's write lock before reading the revision: of two processes, the second sees the first's work.
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        configure(connection)
        connection.commit()


def configure(connection) -> None:
    context.configure(connection=connection, target_metadata=target_metadata, render_as_batch=True)
    context.run_migrations()


async def run_on_postgres(url: str, wait_seconds: float) -> None:
    engine = create_async_engine(url, poolclass=pool.NullPool)
    try:
        # A connection of its own: the lock lives as long as this process does, whatever becomes of a migration.
        async with engine.connect() as guard:
            await take(guard, wait_seconds)
            await migrate(engine)
    finally:
        await engine.dispose()


async def take(guard, wait_seconds: float) -> None:
    """Takes the migrators' lock. Raises BadConfiguration when somebody else keeps it for longer than that."""
    deadline = time.monotonic() + wait_seconds
    while not (await guard.execute(text(f"SELECT pg_try_advisory_lock({LOCK})"))).scalar_one():
        # No transaction stays open while waiting: it would hold up the very migration that is waited for.
        await guard.commit()
        if time.monotonic() > deadline:
            raise BadConfiguration([await busy(guard, wait_seconds)])
        await asyncio.sleep(LOOK_SECONDS)
    await guard.commit()


async def busy(guard, wait_seconds: float) -> str:
    """Who holds the lock, for whoever has to look."""
    holder = await guard.execute(
        text(f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = {LOCK} LIMIT 1")  # noqa: S608
    )
    pid = holder.scalar_one_or_none()
    return (
        f"another process (database session {pid or 'unknown'}) has been migrating for more than {wait_seconds:g} s: "
        "wait for it, or find it in pg_stat_activity and end it, and start again."
    )


async def migrate(engine) -> None:
    """All in one transaction: killed in the middle, it leaves nothing behind."""
    for attempt in range(TRIES):
        async with engine.connect() as connection:
            await connection.execute(text(f"SET lock_timeout = '{DDL_LOCK_SECONDS}s'"))
            await connection.commit()
            try:
                await connection.run_sync(configure)
                await connection.commit()
            except DBAPIError as fault:
                if getattr(fault.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE or attempt + 1 == TRIES:
                    raise
            else:
                return
        await asyncio.sleep(0.2 * (attempt + 1))


run()
