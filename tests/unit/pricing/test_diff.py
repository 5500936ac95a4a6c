from datetime import date
from typing import Any

from gateway.pricing.diff import RateChange, rate_changes
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.table import PriceTable, table_from

DAY = date(2026, 11, 23)


def table(**fields: Any) -> PriceTable:
    entry = {"models": ["m"], "source": "a page", "read_on": DAY, **fields}
    return table_from(PriceOverlay.model_validate({"prices": [entry]}))


def test_each_rate_that_differs_is_a_line() -> None:
    before = table(input=1, output=2, tiers={"batch": {"multiplier": 0.5}})
    after = table(input=1, output=3, cached=0.5, tiers={"batch": {"input": 0.5, "output": 1}})
    assert rate_changes(["m", "m"], before, after, DAY) == [
        RateChange("m", "output", 2_000_000, 3_000_000),
        RateChange("m", "cached", None, 500_000),
    ]


def test_a_model_that_gets_or_loses_its_price_is_told() -> None:
    nothing = table_from(PriceOverlay())
    assert rate_changes(["m"], nothing, table(input=1), DAY) == [RateChange("m", "input", None, 1_000_000)]
    assert rate_changes(["m"], table(input=1), nothing, DAY) == [RateChange("m", "input", 1_000_000, None)]
    assert rate_changes(["m"], table(input=1), table(input=1), DAY) == []
