"""`gateway audit`: who changed what."""

from datetime import UTC, datetime
from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, print_table
from gateway.cli.place import identity, run, settings


def register(app: App) -> None:
    """Adds the command."""
    app.command(audit)


def audit(*, subject: str | None = None, limit: int = 100, json: bool = False) -> None:
    """Lists changes, the newest first. subject: such as team:support, key:<id>, member:<email>."""

    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.audit(subject, limit)

    events = run(work())
    if json:
        print_json(events)
        return
    rows = [
        (
            f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%d %H:%M:%S}",
            event.actor,
            event.action,
            event.subject,
            " ".join(f"{name}={value}" for name, value in event.detail.items()),
        )
        for event in events
    ]
    print_table(("at (UTC)", "actor", "action", "subject", "detail"), rows)
