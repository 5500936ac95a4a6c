"""`gateway budgets`: how much an organisation, a team, a key or a metadata value may spend in a window."""

import time
from typing import Any, Literal

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import actor, database, identity, run, settings
from gateway.core.errors import InvalidRequest
from gateway.core.money import nano_from_usd, usd_text

Scope = Literal["organisation", "team", "key", "metadata"]
Window = Literal["day", "week", "month", "quarter", "year", "total"]


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="budgets", help="Budgets.")
    group.command(set_, name="set")
    group.command(lift)
    group.command(list_, name="list")
    app.command(group)


def set_(
    name: str,
    usd: str,
    *,
    scope: Scope = "team",
    window: Window = "month",
    time_zone: str = "UTC",
    soft: bool = False,
    threshold: list[int] | None = None,
    webhook: str = "",
    json: bool = False,
) -> None:
    """Sets a budget in USD, such as 40.00; a running gateway obeys within a second.

    name: of the team, organisation or key id, or key=value for metadata. soft: counts and tells, and refuses nobody.
    threshold: a percent of the budget that is told to the webhook once a window; may be given several times.
    """
    nano = limit_from(usd)
    extras = soft or threshold or webhook or (scope, window, time_zone) != ("team", "month", "UTC")

    async def work() -> Any:
        from gateway.ledger.leases.defined.store import RuleStore
        from gateway.ledger.leases.rules import BudgetRule, team_month

        async with identity(settings()) as store, database(settings()) as opened:
            rules = RuleStore(opened)
            known = await store.known_name(scope, name)
            if not extras and team_month((await rules.load())[1], known) is None:
                return await store.set_budget(known, nano, actor=actor())
            thresholds = tuple(threshold or ())
            rule = BudgetRule("", scope, known, window, time_zone, nano, not soft, thresholds, webhook)
            return await rules.set_budget(rule, actor())

    changed = run(work())
    if json:
        print_json(changed)
    else:
        kind = "told and not refused beyond" if soft else "at most"
        say(f"{scope.capitalize()} {name!r}: {kind} {usd_text(nano)} USD a {window}.")
        if webhook and settings().books.webhook_secret is None:
            say("GATEWAY_WEBHOOK_SECRET is not set here: messages wait until a gateway has it.")


def limit_from(usd: str) -> int:
    """A budget in nano-dollars. Raises InvalidRequest for text that is no amount, or less than nothing."""
    try:
        nano = nano_from_usd(usd)
    except ValueError as fault:
        raise InvalidRequest(f"{fault}; write it such as 40.00.") from None
    if nano < 0:
        raise InvalidRequest(f"The budget is {usd}; it must be 0 or more.")
    return nano


def lift(name: str, *, json: bool = False) -> None:
    """Lifts a budget: a team's monthly one by the team's name, any other by its id."""

    async def work() -> Any:
        from gateway.ledger.leases.defined.store import RuleStore
        from gateway.ledger.leases.rules import team_month

        async with identity(settings()) as store, database(settings()) as opened:
            rules = RuleStore(opened)
            if name.startswith("bud_"):
                return await rules.remove_budget(name, actor())
            lifted = await store.set_budget(name, None, actor=actor())
            defined = team_month((await rules.load())[1], name)
            if defined is not None:
                await rules.remove_budget(defined.id, actor())
            return lifted

    changed = run(work())
    if json:
        print_json(changed)
    else:
        say(f"{name!r}: no limit.")


def list_(*, json: bool = False) -> None:
    """Lists budgets with what their present window has spent of them."""

    async def work() -> Any:
        from gateway.ledger.leases.defined.store import RuleStore
        from gateway.ledger.leases.standing import budget_lines
        from gateway.ledger.leases.store import LeaseStore

        async with identity(settings()) as store, database(settings()) as opened:
            teams = {team.name: team.monthly_budget_nano_usd for team in await store.teams()}
            return await budget_lines(RuleStore(opened), LeaseStore(opened), teams, time.time())

    lines = run(work())
    if json:
        print_json(lines)
        return
    rows = [
        (
            line.scope,
            line.name,
            line.window if line.time_zone == "UTC" else f"{line.window} ({line.time_zone})",
            line.limit_usd or "no limit",
            line.spent_usd,
            line.held_usd,
            "hard" if line.is_hard else "soft" if line.limit_usd else "",
            line.id if line.id.startswith("bud_") else "",
        )
        for line in lines
    ]
    columns = ("for", "name", "window", "USD", "spent", "held", "kind", "id")
    print_table(columns, rows, frozenset({"USD", "spent", "held"}))
