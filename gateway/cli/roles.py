"""`gateway roles`: keys that open /admin for programs, each with one role."""

import time
from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import access, actor, run, settings


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="roles", help="Role keys, which open /admin and never /v1.")
    for function, name in ((create, "create"), (list_, "list"), (revoke, "revoke")):
        group.command(function, name=name)
    app.command(group)


def create(name: str, *, role: str, team: str = "", expires_in_days: float | None = None, json: bool = False) -> None:
    """Creates a role key and shows it, this once.

    role: admin, policy_author, team_owner, team_viewer or metrics. team: of team_owner and team_viewer.
    """
    expires_at = None if expires_in_days is None else time.time() + expires_in_days * 86400

    async def work() -> Any:
        async with access(settings()) as store:
            return await store.create_key(name, role, team, expires_at=expires_at, actor=actor())

    key, info = run(work())
    if json:
        print_json({"key": key, "info": info})
        return
    say(key)
    say(
        f"This is a key of the role {info.role}{f' of team {info.team!r}' if info.team else ''}. It is not shown again."
    )


def list_(*, json: bool = False) -> None:
    """Lists role keys by id and visible prefix."""

    async def work() -> Any:
        async with access(settings()) as store:
            return await store.keys()

    keys = run(work())
    if json:
        print_json(keys)
        return
    rows = [(key.id, key.name, key.role, key.team or "-", key.prefix + "...", _state(key)) for key in keys]
    print_table(("id", "name", "role", "team", "key", "state"), rows)


def revoke(key: str, *, json: bool = False) -> None:
    """Ends a role key (id or prefix); a running gateway refuses it within a second."""

    async def work() -> Any:
        async with access(settings()) as store:
            return await store.revoke_key(key, actor=actor())

    info = run(work())
    if json:
        print_json(info)
    else:
        say(f"Role key {info.prefix}... ({info.role}) is revoked.")


def _state(key: Any) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= time.time() else "live"
