"""`gateway prices`: what tokens cost."""

import sys
import time
from datetime import date
from pathlib import Path

from cyclopts import App

from gateway.cli.output import print_json, print_table
from gateway.cli.place import settings

KINDS = ("input", "cached", "cache_write", "output", "training")


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="prices", help="Prices of models.")
    group.command(show)
    app.command(group)


def show(models: list[str], *, day: date | None = None, policies: Path | None = None, json: bool = False) -> int:
    """Shows the rates of models in USD per million tokens; exit 1 when one has no price."""
    from gateway.core.clock import utc_day
    from gateway.live import load_all

    prices = load_all(settings(policies=policies).policies).prices
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


def _usd(pico: int | None) -> str:
    return "-" if pico is None else f"{pico / 1_000_000:g}"
