"""What new prices would change: rates of models, and what they would have made of rows that are there."""

from datetime import date

from gateway.core.clock import utc_day
from gateway.core.document import read_document, validate
from gateway.core.values import Value
from gateway.ledger.adjustments.reprice import RatesOf
from gateway.ledger.adjustments.store import Adjustments, Repricing, Span
from gateway.pricing.apply import applied
from gateway.pricing.diff import RateChange, rate_changes
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.package import SOURCE, package_rates
from gateway.pricing.table import PriceTable, table_from

FILE = "prices.yaml"


class PriceDifference(Value, frozen=True):
    """What changes on `day`: rates, and the rows of the span as if they had been made on that day.

    after: whose prices they are compared with.
    """

    after: str
    day: date
    rates: tuple[RateChange, ...]
    rows: Repricing


async def price_difference(
    adjustments: Adjustments, written: str, incoming: str | None, name: str, span: Span, today: date
) -> PriceDifference:
    """What applying `incoming` to prices.yaml as it is `written` changes, from the last `from` in it on.

    Without one: what the installed package says of the models that the file prices, today. Nothing is written.
    Raises BadConfiguration for a file that could not be applied.
    """
    before = validate(read_document(written, FILE), PriceOverlay)
    models = {model for price in before.prices for model in price.models}
    if incoming is None:
        known = {model for model in models if package_rates(model, today, None) is not None}
        left = [(price, tuple(model for model in price.models if model not in known)) for price in before.prices]
        after = PriceOverlay(prices=tuple(price.model_copy(update={"models": names}) for price, names in left if names))
        day, told, changed = today, SOURCE, sorted(known)
    else:
        text = applied(written, incoming, FILE, name).text
        after = validate(read_document(text, FILE), PriceOverlay)
        new = validate(read_document(incoming, name), PriceOverlay).prices
        day = max(price.first_day or today for price in new)
        told, changed = name, [model for price in new for model in price.models]
    old_table, new_table = table_from(before), table_from(after)
    rates = rate_changes(changed, old_table, new_table, day)
    rows = await adjustments.reprice(lambda model, _at: new_table.rates(model, day), span, "", is_dry_run=True)
    return PriceDifference(told, day, tuple(rates), rows)


def of_their_day(prices: PriceTable) -> RatesOf:
    """The rates that a row of a moment has by this table: those of its UTC day."""
    return lambda model, at: prices.rates(model, utc_day(at))
