"""What one table of prices changes of another."""

from collections.abc import Iterable
from datetime import date

from gateway.core.values import Value
from gateway.pricing.rates import Rates
from gateway.pricing.table import PriceTable


class RateChange(Value, frozen=True):
    """One rate of one model, in pico-dollars a token (USD per million times 1,000,000); None is no price.

    rate: a field of Rates, with its tier in front (`batch.input`).
    """

    model: str
    rate: str
    before: int | None
    after: int | None


RATES = (
    "input",
    "cached",
    "cache_write",
    "output",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
    "training",
    "training_hour_nano_usd",
)


def rate_changes(models: Iterable[str], before: PriceTable, after: PriceTable, day: date) -> list[RateChange]:
    """Every rate of these models that differs between the tables on that day, by model."""
    return [
        RateChange(model, name, one.get(name), two.get(name))
        for model in sorted(set(models))
        for one, two in [(_named(before.rates(model, day)), _named(after.rates(model, day)))]
        for name in (*one, *(name for name in two if name not in one))
        if one.get(name) != two.get(name)
    ]


def _named(rates: Rates | None) -> dict[str, int | None]:
    """The rates by name, those of long contexts and of tiers among them."""
    if rates is None:
        return {}
    found: dict[str, int | None] = {name: getattr(rates, name) for name in RATES}
    for step in rates.long_context:
        found |= {f"over-{step.over}.{name}": getattr(step, name) for name in RATES[:4]}
    for tier, its in rates.tiers:
        found |= {f"{tier}.{name}": rate for name, rate in _named(its).items()}
    return {name: rate for name, rate in found.items() if rate is not None}
