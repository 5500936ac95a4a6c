"""`gateway db`: the schema."""

from typing import Any

from cyclopts import App

from gateway.cli.output import say
from gateway.cli.place import make_data_folder, run, settings


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="db", help="Migrations.")
    group.command(upgrade)
    group.command(check)
    app.command(group)


def upgrade() -> None:
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

    say(f"Upgraded to {schema.HEAD}." if run(work()) else f"Already at {schema.HEAD}.")


def check() -> int:
    """Says whether the database stands at the schema of this version; exit 1 when not."""
    from gateway.db import schema
    from gateway.db.engine import Database

    async def work() -> Any:
        database = Database(settings().database_url)
        try:
            return await schema.revision(database)
        finally:
            await database.close()

    found = run(work())
    say(f"The database stands at {found or 'no revision'}; this version needs {schema.HEAD}.")
    return 0 if found == schema.HEAD else 1
