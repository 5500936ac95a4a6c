"""The price table: policies/prices.yaml over the maintained package, by model and day."""

from collections.abc import Mapping
from datetime import date

from gateway.pricing.model_ids import price_names
from gateway.pricing.overlay import Price, PriceOverlay
from gateway.pricing.package import package_rates
from gateway.pricing.rates import Rates

OVERLAY_SOURCE = "policies/prices.yaml"
# Callers choose model names, so the held answers are bounded: in number, and in the length of a name.
MAX_HELD = 4_096
MAX_NAME = 300

Entries = Mapping[tuple[str, str | None], tuple[Price, ...]]


class PriceTable:
    """What a model's tokens cost on a day. Reads nothing and downloads nothing; a new file is a new table."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._held: dict[tuple[str, date, str | None], Rates | None] = {}

    def rates(self, model: str, day: date, provider: str | None = None) -> Rates | None:
        """The rates of `model` on the UTC `day`, or None when no source has a price for it.

        An entry of prices.yaml wins over the package, a longer name over a shorter one, and an entry that
        names `provider` over one that does not.
        """
        key = (model, day, provider)
        if key in self._held:
            return self._held[key]
        if len(model) > MAX_NAME:
            return None
        found = self._from_overlay(model, day, provider) or package_rates(model, day, provider)
        if len(self._held) >= MAX_HELD:
            # Dropping all is rarer and cheaper than keeping an order of use on every call.
            self._held.clear()
        self._held[key] = found
        return found

    def provider_rates(self, model: str, day: date, provider: str) -> Rates | None:
        """The rates that prices.yaml gives for `model` at this provider by name; None where no entry names it."""
        for name in price_names(model):
            for price in self._entries.get((name, provider), ()):
                if price.holds_on(day):
                    return price.rates(OVERLAY_SOURCE)
        return None

    def _from_overlay(self, model: str, day: date, provider: str | None) -> Rates | None:
        for name in price_names(model):
            for owner in (None,) if provider is None else (provider, None):
                for price in self._entries.get((name, owner), ()):
                    if price.holds_on(day):
                        return price.rates(OVERLAY_SOURCE)
        return None


def table_from(overlay: PriceOverlay) -> PriceTable:
    """A table of these entries over the package. An empty overlay leaves the package alone."""
    entries: dict[tuple[str, str | None], tuple[Price, ...]] = {}
    for price in overlay.prices:
        for model in price.models:
            key = (model, price.provider)
            entries[key] = (*entries.get(key, ()), price)
    return PriceTable(entries)
