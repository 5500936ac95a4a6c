"""`gateway prices`: what tokens cost."""

import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from cyclopts import App

from gateway.cli.output import print_json, print_table, say
from gateway.cli.place import actor, database, run, settings
from gateway.core.errors import BadConfiguration
from gateway.core.money import usd_text

KINDS = ("input", "cached", "cache_write", "output", "training")


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="prices", help="Prices of models.")
    group.command(show)
    group.command(diff)
    group.command(apply)
    group.command(reprice)
    app.command(group)


def show(models: list[str], *, day: date | None = None, policies: Path | None = None, json: bool = False) -> int:
    """Shows the rates of models in USD per million tokens; exit 1 when one has no price."""
    from gateway.core.clock import utc_day
    from gateway.live import load_all

    place = settings(policies=policies)
    prices = load_all(place.policies, None, place.data).prices
    found = {model: prices.rates(model, day or utc_day(time.time())) for model in models}
    if json:
        print_json(found)
    else:
        rows = [
            (model, *(_usd(getattr(rates, kind, None)) for kind in KINDS), rates.source if rates else "no price")
            for model, rates in found.items()
        ]
        print_table(("model", *KINDS, "source"), rows, frozenset(KINDS))
    missing = [model for model, rates in found.items() if rates is None]
    if missing:
        sys.stderr.write(f"No price is known for {', '.join(missing)}.\n")
    return 1 if missing else 0


def diff(
    file: Path | None = None,
    *,
    days: int = 30,
    team: str | None = None,
    policies: Path | None = None,
    json: bool = False,
) -> None:
    """Shows what new prices would change, and what they would have made of the last days' rows.

    file: entries as in prices.yaml, each with its first day. Without it: what the installed price package says of the
    models that prices.yaml prices.
    """
    from gateway.core.clock import utc_day
    from gateway.ledger.adjustments.store import Adjustments, Span
    from gateway.ledger.adjustments.what_if import price_difference
    from gateway.pricing.apply import prices_text

    found = settings(policies=policies)
    written = prices_text(found.policies / "prices.yaml")
    incoming, name = (None, "") if file is None else (_text(file), file.name)
    now = time.time()
    span = Span(since=now - days * 86_400, team=team)

    async def work() -> Any:
        async with database(found) as opened:
            return await price_difference(Adjustments(opened), written, incoming, name, span, utc_day(now))

    made = run(work())
    if json:
        print_json(made)
        return
    say(f"Against {made.after}, on {made.day}:")
    rows = [(one.model, one.rate, _usd(one.before), _usd(one.after)) for one in made.rates]
    print_table(("model", "rate", "USD now", "USD then"), rows, frozenset({"USD now", "USD then"}))
    say(f"The rows of the last {days} days at these prices:")
    _tell_changes(made.rows)


def apply(file: Path, *, dry_run: bool = False, policies: Path | None = None, json: bool = False) -> None:
    """Takes a file's entries into prices.yaml; the entries that they follow end the day before.

    A running gateway prices by them within a second. Rows that are there keep their cost until `prices reprice`.
    """
    from gateway.pricing.apply import apply_file

    path = settings(policies=policies).policies / "prices.yaml"
    done = apply_file(path, _text(file), file.name, is_dry_run=dry_run)

    async def note() -> None:
        from gateway.db.store import note_alone

        async with database(settings()) as opened:
            await note_alone(opened, actor(), "prices.apply", f"file:{path.name}", models=done.added)

    if not dry_run:
        run(note())
    if json:
        print_json(done)
        return
    for closed in done.closed:
        say(f"{path.name}:{closed.line}: {', '.join(closed.models)} ends on {closed.last_day}.")
    say(f"{'Would add' if dry_run else 'Added'} prices of {', '.join(done.added)}.")


def reprice(
    *,
    since: str | None = None,
    until: str | None = None,
    team: str | None = None,
    model: str | None = None,
    reason: str = "repriced",
    dry_run: bool = False,
    policies: Path | None = None,
    json: bool = False,
) -> None:
    """Computes rows anew from their tokens at the prices of their day, and books the differences as adjustments.

    No row is edited, and what is right already stays: a second time changes nothing. since, until: a day or an ISO
    time in UTC; until is not included.
    """
    from gateway.ledger.adjustments.store import Adjustments, Span
    from gateway.ledger.adjustments.what_if import of_their_day
    from gateway.ledger.span import unix_time
    from gateway.live import load_all

    found = settings(policies=policies)
    prices = load_all(found.policies, None, found.data).prices
    span = Span(unix_time(since, "since"), unix_time(until, "until"), team, model)

    def progress(rows: int, changed: int) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{rows} rows, {changed} changed")

    async def work() -> Any:
        async with database(found) as opened:
            store = Adjustments(opened)
            rates = of_their_day(prices)
            return await store.reprice(rates, span, actor(), reason, is_dry_run=dry_run, progress=progress)

    made = run(work())
    if json:
        print_json(made)
    else:
        _tell_changes(made)
        say("Nothing is written: a dry run." if dry_run else f"Written as {made.run}.")


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise BadConfiguration([f"{file}: cannot be read ({type(fault).__name__})."]) from None


def _tell_changes(made: Any) -> None:
    columns = ("team", "model", "rows", "changed", "first price", "no price", "USD before", "USD after", "difference")
    rows = [
        (
            *(line.team, line.model, line.rows, line.changed, line.priced, line.unpriced),
            *map(usd_text, (line.before_nano_usd, line.after_nano_usd, line.after_nano_usd - line.before_nano_usd)),
        )
        for line in made.lines
    ]
    print_table(columns, rows, frozenset(columns[2:]))
    say(f"{made.changed} of {made.rows} rows change, by {made.delta_usd} USD.")


def _usd(pico: int | None) -> str:
    return "-" if pico is None else f"{pico / 1_000_000:g}"
