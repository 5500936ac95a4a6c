"""`gateway members`: what people may do who sign in."""

from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import access, actor, run, settings


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="members", help="People who sign in, and their roles.")
    for function, name in ((add, "add"), (list_, "list"), (remove, "remove")):
        group.command(function, name=name)
    app.command(group)


def add(email: str, *, role: str, team: str = "", json: bool = False) -> None:
    """Gives a person a role: one for each team, and one outside the teams.

    role: admin, policy_author, team_owner, team_viewer or metrics. team: of team_owner and team_viewer.
    """

    async def work() -> Any:
        async with access(settings()) as store:
            return await store.add_member(email, role, team, actor=actor())

    member = run(work())
    if json:
        print_json(member)
    else:
        say(f"{member.email} is {member.role}{f' of team {member.team!r}' if member.team else ''}.")


def list_(*, json: bool = False) -> None:
    """Lists members."""

    async def work() -> Any:
        async with access(settings()) as store:
            return await store.members()

    members = run(work())
    if json:
        print_json(members)
        return
    print_table(("email", "role", "team"), [(one.email, one.role, one.team or "-") for one in members])


def remove(email: str, *, team: str | None = None, json: bool = False) -> None:
    """Takes a person's roles away; a running gateway obeys within a second. team: that one role alone."""

    async def work() -> Any:
        async with access(settings()) as store:
            return await store.remove_member(email, team, actor=actor())

    gone = run(work())
    if json:
        print_json(gone)
        return
    for member in gone:
        say(f"{member.email} is {member.role}{f' of team {member.team!r}' if member.team else ''} no more.")
