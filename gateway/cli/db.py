"""`gateway db`: the schema."""

from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, say
from gateway.cli.place import actor, database, make_data_folder, run, settings


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="db", help="Migrations and upkeep.")
    group.command(upgrade)
    group.command(check)
    group.command(retain)
    app.command(group)


def upgrade(*, json: bool = False) -> None:
    """Brings the database to the schema of this version."""
    from gateway.db import schema
    from gateway.db.engine import Database

    async def work() -> bool:
        found = settings()
        make_data_folder(found)
        database = Database(found.database_url)
        try:
            return await schema.upgrade(database)
        finally:
            await database.close()

    is_upgraded = run(work())
    if json:
        print_json({"revision": schema.HEAD, "upgraded": is_upgraded})
    else:
        say(f"Upgraded to {schema.HEAD}." if is_upgraded else f"Already at {schema.HEAD}.")


def check(*, json: bool = False) -> int:
    """Says whether this version can work on the database's schema; exit 1 when it must be upgraded first."""
    from gateway.db import schema
    from gateway.db.engine import Database

    async def work() -> Any:
        database = Database(settings().database_url)
        try:
            return await schema.revision(database), await schema.fits(database)
        finally:
            await database.close()

    found, is_fit = run(work())
    if json:
        print_json({"revision": found, "needed": schema.HEAD, "fits": is_fit})
    else:
        say(f"The database stands at {found or 'no revision'}; this version needs {schema.HEAD}.")
    return 0 if is_fit else 1


def retain(*, months: int | None = None, dry_run: bool = False, json: bool = False) -> int:
    """Makes the months ahead and drops rows of usage and decisions that are too old; sums by day are kept.

    months: whole months to keep beside this one; without it GATEWAY_RETENTION_MONTHS. dry_run: only says what would
    be done. Exit 1 when a lock could not be had and something was left for the next run.
    """
    import time

    from gateway.db.partitions import keep_up
    from gateway.db.store import note_alone

    found = settings()
    kept = found.books.retention_months if months is None else months

    async def work() -> Any:
        async with database(found) as opened:
            done = await keep_up(opened, time.time(), kept, dry_run=dry_run)
            if not dry_run:
                await note_alone(opened, actor(), "rows.retain", "rows", months=kept, done=done)
            return done

    done = run(work())
    if json:
        print_json(done)
    else:
        would = "Would have been " if dry_run else ""
        say(f"{would}made: {', '.join(done.made) or 'nothing'}.")
        say(f"{would}dropped: {', '.join(done.dropped) or 'nothing'}.")
        for table, rows in done.deleted_rows.items():
            say(f"{would}deleted from {table}: {rows} rows.")
        if done.postponed:
            say(f"Postponed, others hold the lock: {', '.join(done.postponed)}. The next run tries again.")
        if kept is None:
            say("Nothing is too old: GATEWAY_RETENTION_MONTHS is not set.")
    return 1 if done.postponed else 0
