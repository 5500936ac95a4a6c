"""`gateway teams`: who spends."""

from typing import Any

from cyclopts import App

from gateway.cli.budgets import limit_from
from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import actor, identity, run, settings
from gateway.core.money import usd_text


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="teams", help="Teams and their budgets.")
    group.command(create)
    group.command(set_, name="set")
    group.command(list_, name="list")
    app.command(group)


def create(
    name: str, *, title: str = "", organisation: str = "", budget: str | None = None, json: bool = False
) -> None:
    """Creates a team. organisation: who it is a part of. budget: USD per UTC month, such as 40.00."""
    limit = None if budget is None else limit_from(budget)

    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.create_team(name, title, limit, organisation=organisation, actor=actor())

    team = run(work())
    if json:
        print_json(team)
    else:
        say(f"Team {team.name!r} created.")


def set_(name: str, *, title: str | None = None, organisation: str | None = None, json: bool = False) -> None:
    """Changes a team's title or organisation; what is left out stays. organisation "": none."""

    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.set_team(name, title=title, organisation=organisation, actor=actor())

    team = run(work())
    if json:
        print_json(team)
    else:
        say(f"Team {team.name!r}: title {team.title!r}, organisation {team.organisation or 'none'}.")


def list_(*, json: bool = False) -> None:
    """Lists teams."""

    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.teams()

    teams = run(work())
    if json:
        print_json(teams)
        return
    rows = [(team.name, team.title, team.organisation or "-", _limit(team.monthly_budget_nano_usd)) for team in teams]
    print_table(("team", "title", "organisation", "USD a month"), rows, frozenset({"USD a month"}))


def _limit(nano: int | None) -> str:
    return "no limit" if nano is None else usd_text(nano)
