"""`gateway budgets`: how much a team may spend in a month."""

from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import actor, database, identity, run, settings
from gateway.core.errors import InvalidRequest
from gateway.core.money import nano_from_usd, usd_text


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="budgets", help="Monthly budgets.")
    group.command(set_, name="set")
    group.command(lift)
    group.command(list_, name="list")
    app.command(group)


def set_(team: str, usd: str, *, json: bool = False) -> None:
    """Sets a team's monthly budget in USD, such as 40.00; a running gateway obeys within a second."""
    _change(team, limit_from(usd), json=json)


def limit_from(usd: str) -> int:
    """A budget in nano-dollars. Raises InvalidRequest for text that is no amount, or less than nothing."""
    try:
        nano = nano_from_usd(usd)
    except ValueError as fault:
        raise InvalidRequest(f"{fault}; write it such as 40.00.") from None
    if nano < 0:
        raise InvalidRequest(f"The budget is {usd}; it must be 0 or more.")
    return nano


def lift(team: str, *, json: bool = False) -> None:
    """Lifts a team's budget: no limit."""
    _change(team, None, json=json)


def list_(*, json: bool = False) -> None:
    """Lists budgets with what this month has spent of them."""
    import time

    from gateway.core.clock import month_start
    from gateway.ledger.store import LedgerStore

    async def work() -> Any:
        found = settings()
        async with identity(found) as store, database(found) as opened:
            return await store.teams(), await LedgerStore(opened).spent_since(month_start(time.time()))

    teams, spent = run(work())
    told = [
        {
            "team": team.name,
            "limit_usd": None if team.monthly_budget_nano_usd is None else usd_text(team.monthly_budget_nano_usd),
            "spent_usd": usd_text(spent.get(team.name, 0)),
        }
        for team in teams
    ]
    if json:
        print_json(told)
        return
    rows = [(row["team"], row["limit_usd"] or "no limit", row["spent_usd"]) for row in told]
    print_table(("team", "USD a month", "spent"), rows, frozenset({"USD a month", "spent"}))


def _change(team: str, nano: int | None, *, json: bool) -> None:
    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.set_budget(team, nano, actor=actor())

    changed = run(work())
    if json:
        print_json(changed)
    else:
        say(f"Team {team!r}: {'no limit' if nano is None else usd_text(nano) + ' USD a month'}.")
