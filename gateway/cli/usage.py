"""`gateway usage`: what teams used and what it cost."""

from pathlib import Path
from typing import Any, Literal

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import actor, database, run, settings
from gateway.core.errors import BadConfiguration, InvalidRequest
from gateway.core.money import nano_from_usd, usd_text

NUMBERS = frozenset({"calls", "prompt", "cached", "completion", "reasoning", "USD"})


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="usage", help="Tokens and cost.")
    group.command(report)
    group.command(adjust)
    group.command(export)
    group.command(reconcile)
    app.command(group)


def report(
    *,
    by: str = "team",
    since: str | None = None,
    until: str | None = None,
    team: str | None = None,
    format: Literal["table", "csv"] = "table",  # noqa: A002  # the option's name
    json: bool = False,
) -> None:
    """Sums the books, corrections included.

    by: organisation, team, key_id, path, model, line, rule, upstream, endpoint, collections, service_tier, day, month,
    asked_model, metadata.KEY; several with commas.
    since, until: a day (2026-11-01) or an ISO time, in UTC; until is not included.
    """
    from gateway.ledger.report import usage_report
    from gateway.ledger.reports.export import report_csv
    from gateway.ledger.reports.store import ReportStore

    async def work() -> Any:
        async with database(settings()) as opened:
            return await usage_report(ReportStore(opened), [name for name in by.split(",") if name], since, until, team)

    found = run(work())
    if json:
        print_json(found)
        return
    if format == "csv":
        say(report_csv(found).rstrip("\n"))
        return
    columns = (*found.by, "calls", "prompt", "cached", "completion", "reasoning", "USD")
    lines = [*found.lines, found.total]
    rows = []
    for line in lines:
        named = [line.group.get(name) or "-" for name in found.by] if line is not found.total else _total(found.by)
        counts = (line.calls, line.prompt_tokens, line.tokens["cached"], line.completion_tokens)
        rows.append((*named, *counts, line.tokens["reasoning"], line.cost_usd))
    print_table(columns, rows, NUMBERS)
    if found.total.unpriced:
        say(f"{found.total.unpriced} attempts have no price; their cost is unknown and not in these sums.")
    if found.total.estimated:
        say(f"{found.total.estimated} attempts brought no usage; their tokens are estimates.")


def adjust(event_id: str, *, usd: str, reason: str, json: bool = False) -> None:
    """Corrects what one row cost, as a row of its own beside it; the row itself stays.

    event_id: the id of a usage row, such as call_0193c5.1. usd: exact text, negative to give back.
    """
    from gateway.ledger.adjustments.store import Adjustments

    try:
        nano = nano_from_usd(usd)
    except ValueError as fault:
        raise InvalidRequest(f"{fault}; write it such as -0.05.") from None

    async def work() -> Any:
        async with database(settings()) as opened:
            return await Adjustments(opened).adjust(event_id, nano, reason, actor())

    made = run(work())
    if json:
        print_json(made)
    else:
        say(f"{made.event_id} of team {made.team!r}: {usd_text(made.delta_nano_usd)} USD, booked as {made.id}.")


def export(
    *,
    format: Literal["csv", "focus"] = "csv",  # noqa: A002  # the option's name
    since: str | None = None,
    until: str | None = None,
    team: str | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Writes the sums by day for another program: as they are (csv) or as a FOCUS 1.2 dataset (focus).

    since, until: UTC days; until is not included. out: a file, which is replaced as a whole; standard output, unless
    given. json: says what was written, as JSON.
    """
    import sys
    import time

    from gateway.core.clock import utc_day
    from gateway.ledger.reports.export import export as exported
    from gateway.ledger.reports.store import ReportStore

    if json and out is None:
        raise InvalidRequest("--json says what was written to a file; name one with --out.")

    async def work() -> int:
        size = 0
        fresh = None if out is None else out.with_name(out.name + ".new")
        file = sys.stdout if fresh is None else fresh.open("w", encoding="utf-8", newline="")
        try:
            async with database(settings()) as opened:
                pieces = exported(ReportStore(opened), format, since, until, utc_day(time.time()), team)
                async for piece in pieces:
                    file.write(piece)
                    size += len(piece.encode())
        finally:
            if fresh is not None:
                file.close()
        if fresh is not None and out is not None:
            fresh.replace(out)
        return size

    try:
        size = run(work())
    except OSError as fault:
        if out is None:
            # Whoever reads the pipe has had enough: no fault of anybody's.
            raise
        raise BadConfiguration([f"{out}: cannot be written ({type(fault).__name__})."]) from None
    if json:
        print_json({"format": format, "bytes": size, "out": str(out)})


def reconcile(
    *,
    upstream: str,
    since: str,
    until: str,
    tolerance: float = 0.0,
    api_key_id: list[str] | None = None,
    policies: Path | None = None,
    json: bool = False,
) -> int:
    """Compares the books with the provider's own count by UTC day, model and tier; exit 1 when they differ.

    upstream: one of models.yaml with an admin_key. since, until: UTC days; until is not included. tolerance: the share
    of the larger number that a difference may have. api_key_id: the provider's id of a key that this gateway uses, so
    that others of the account are left out (repeat it for several); costs are then not compared.
    """
    from gateway.core.settings import environment
    from gateway.ledger.reports.reconcile import reconcile as compare
    from gateway.ledger.reports.store import ReportStore
    from gateway.live import load_all
    from gateway.upstream.organization import Accounts
    from gateway.upstream.post import JsonPoster

    found = settings(policies=policies)
    entries = load_all(found.policies, None, found.data).rulebook.models.upstreams

    async def work() -> Any:
        poster = JsonPoster()
        try:
            account = Accounts(lambda: entries, environment(), poster.get).of(upstream)
            async with database(found) as opened:
                store = ReportStore(opened)
                return await compare(store, account, upstream, since, until, tolerance, api_key_id or ())
        finally:
            await poster.close()

    made = run(work())
    if json:
        print_json(made)
    else:
        _tell_compared(made)
    return 0 if made.agrees else 1


def _tell_compared(made: Any) -> None:
    names = ("input_tokens", "cached_tokens", "output_tokens", "requests")
    columns = ("day", "model", "tier", "status", *(name.partition("_")[0] for name in names), "likely because")
    rows = []
    for line in made.lines:
        counts = [
            f"{getattr(line.ours, name)}" + (f" ({away:+})" if (away := getattr(line.difference, name)) else "")
            for name in names
        ]
        rows.append((line.day, line.model, line.tier or "standard", line.status, *counts, "; ".join(line.reasons)))
    print_table(columns, rows, frozenset(columns[4:-1]))
    rows = [
        (cost.day, cost.status, usd_text(cost.ours_nano_usd), usd_text(cost.theirs_nano_usd), "; ".join(cost.reasons))
        for cost in made.costs
    ]
    print_table(
        ("day", "status", "USD ours", "USD theirs", "likely because"), rows, frozenset({"USD ours", "USD theirs"})
    )
    say("The books and the provider agree." if made.agrees else "The books and the provider differ.")


def _total(by: list[str]) -> list[str]:
    return ["total", *([""] * (len(by) - 1))] if by else []
