"""`gateway limits`: how fast an organisation, a team or a key may go."""

from typing import Any, Literal

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import actor, database, identity, run, settings

Scope = Literal["organisation", "team", "key"]


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="limits", help="Requests, tokens and calls at once.")
    group.command(set_, name="set")
    group.command(list_, name="list")
    app.command(group)


def set_(
    name: str,
    *,
    scope: Scope = "team",
    requests: int | None = None,
    tokens: int | None = None,
    concurrency: int | None = None,
    json: bool = False,
) -> None:
    """Sets limits per minute, over all replicas together; what is left out is lifted.

    name: of the team or organisation, or a key's id. requests, tokens: per minute. concurrency: calls at once.
    """

    async def work() -> Any:
        from gateway.ledger.leases.defined.store import RuleStore
        from gateway.ledger.leases.rules import LimitRule

        async with identity(settings()) as store, database(settings()) as opened:
            known = await store.known_name(scope, name)
            return await RuleStore(opened).set_limit(LimitRule(scope, known, requests, tokens, concurrency), actor())

    rule = run(work())
    if json:
        print_json(rule)
    else:
        told = [f"{number:,} {what}" for what, number in _numbers(rule) if number is not None]
        say(f"{scope.capitalize()} {name!r}: {', '.join(told) or 'no limits'}.")


def list_(*, json: bool = False) -> None:
    """Lists limits."""

    async def work() -> Any:
        from gateway.ledger.leases.defined.store import RuleStore

        async with database(settings()) as opened:
            return (await RuleStore(opened).load())[2]

    rules = run(work())
    if json:
        print_json(rules)
        return
    rows = [(rule.scope, rule.name, *(number for _, number in _numbers(rule))) for rule in rules]
    columns = ("for", "name", *(what for what, _ in _numbers(None)))
    print_table(columns, rows, frozenset(columns[2:]))


def _numbers(rule: Any) -> list[tuple[str, int | None]]:
    names = (
        ("requests a minute", "requests_per_minute"),
        ("tokens a minute", "tokens_per_minute"),
        ("calls at once", "concurrency"),
    )
    return [(told, getattr(rule, name, None)) for told, name in names]
