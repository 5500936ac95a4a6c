"""`gateway webhooks`: messages to other systems."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import database, run, settings
from gateway.core.errors import InvalidRequest

MOST = 1_000


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="webhooks", help="Messages to other systems: signed, tried for a day.")
    group.command(list_, name="list")
    group.command(retry)
    group.command(test)
    app.command(group)


def list_(*, limit: int = 100, undelivered: bool = False, json: bool = False) -> None:
    """Lists messages, the newest first. undelivered: only those that nobody has taken."""
    if not 1 <= limit <= MOST:
        raise InvalidRequest(f"limit is {limit}; it must be between 1 and {MOST}.")
    found = _with_messenger(lambda messenger: messenger.store.newest(limit, undelivered=undelivered))
    if json:
        print_json(found)
        return
    rows = [(one.id, _time(one.created_at), one.state, one.tries, one.url, one.fault) for one in found]
    print_table(("id", "made", "state", "tries", "url", "last fault"), rows, frozenset({"tries"}))


def retry(delivery_id: str, *, json: bool = False) -> None:
    """Has a message tried again now by a running gateway, with all its tries before it."""
    found = _with_messenger(lambda messenger: messenger.store.retry(delivery_id))
    if json:
        print_json(found)
    else:
        say(f"Message {found.id} is due now.")


def test(url: str, *, json: bool = False) -> int:
    """Sends one signed test message to an address; exit 1 when it is not taken."""
    found = _with_messenger(lambda messenger: messenger.test(url))
    if json:
        print_json(found)
    elif found.fault:
        say(f"Not taken: {found.fault}" if found.status is None else f"Answered {found.status}: {found.fault}")
    else:
        say(f"Taken: {url} answered {found.status} to {found.id}.")
    return 1 if found.fault else 0


def _with_messenger(work: Callable[[Any], Awaitable[Any]]) -> Any:
    import time

    from gateway.ledger.webhooks.delivery import Messenger, signing_keys
    from gateway.ledger.webhooks.store import WebhookStore
    from gateway.upstream.post import JsonPoster

    async def working() -> Any:
        found = settings()
        poster = JsonPoster()
        try:
            async with database(found) as opened:
                keys = signing_keys(found.books.webhook_secret)
                return await work(Messenger(WebhookStore(opened), poster.status, keys, time.time))
        finally:
            await poster.close()

    return run(working())


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
