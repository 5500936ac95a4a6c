"""`gateway keys`: what teams call with."""

import time
from datetime import UTC, datetime
from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import actor, identity, run, settings
from gateway.core.errors import InvalidRequest


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="keys", help="API keys of teams.")
    for function, name in ((create, "create"), (list_, "list"), (rotate, "rotate"), (revoke, "revoke")):
        group.command(function, name=name)
    app.command(group)


def create(
    team: str,
    *,
    name: str = "default",
    expires_in_days: float | None = None,
    debug: bool = False,
    allowed_models: list[str] | None = None,
    allowed_paths: list[str] | None = None,
    metadata: list[str] | None = None,
    json: bool = False,
) -> None:
    """Creates a key and shows it, this once.

    debug: the key may ask for the reason of a decision with `x-gateway-debug: true`. allowed_models: what it may ask
    for, each a name or its beginning with `*` after it; once for each. allowed_paths: fine_tuned, rag, direct,
    passthrough; once for each. metadata: name=value, a part of every call's; once for each.
    """
    from gateway.identity.terms import checked_terms

    expires_at = None if expires_in_days is None else time.time() + expires_in_days * 86400
    terms = checked_terms(allowed_models, allowed_paths, _pairs(metadata or []))

    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.create_key(team, name, actor=actor(), expires_at=expires_at, debug=debug, terms=terms)

    _show(*run(work()), json=json)


def list_(*, team: str | None = None, json: bool = False) -> None:
    """Lists keys by id and visible prefix."""

    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.keys(team)

    keys = run(work())
    if json:
        print_json(keys)
        return
    rows = [(key.id, key.team, key.name, key.prefix + "...", _state(key), _terms(key)) for key in keys]
    print_table(("id", "team", "name", "key", "state", "bound to"), rows)


def rotate(key: str, *, overlap_hours: float = 24, json: bool = False) -> None:
    """Makes a new key with the same terms in place of an old one (id or prefix), which works on for the overlap."""

    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.rotate_key(key, overlap_hours * 3600, actor=actor())

    _show(*run(work()), json=json)


def revoke(key: str, *, json: bool = False) -> None:
    """Ends a key (id or prefix); a running gateway refuses it within a second."""

    async def work() -> Any:
        async with identity(settings()) as store:
            return await store.revoke_key(key, actor=actor())

    info = run(work())
    if json:
        print_json(info)
    else:
        say(f"Key {info.prefix}... of team {info.team!r} is revoked.")


def _show(key: str, info: Any, *, json: bool) -> None:
    if json:
        print_json({"key": key, "info": info})
        return
    say(key)
    say(f"This is the key of team {info.team!r} named {info.name!r}. It is not shown again.")


def _pairs(written: list[str]) -> dict[str, str]:
    pairs = {}
    for pair in written:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InvalidRequest(f"--metadata {pair!r} has no `=`; write it as name=value.")
        pairs[name] = value
    return pairs


def _terms(key: Any) -> str:
    pairs = [f"{name}={value}" for name, value in key.metadata.items()]
    return " ".join([*key.allowed_models, *(f"path:{path}" for path in key.allowed_paths), *pairs]) or "-"


def _state(key: Any) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "live"
    ends = datetime.fromtimestamp(key.expires_at, UTC)
    return f"{'expired' if key.expires_at <= time.time() else 'live until'} {ends:%Y-%m-%d %H:%M} UTC"
