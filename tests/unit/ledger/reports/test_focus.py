from datetime import date
from typing import Any

import pytest

from gateway.core.usage import Usage
from gateway.ledger.reports.focus import COLUMNS, focus_rows
from gateway.ledger.rollup import rolled_up
from tests.fakes.calls import NOON, closed
from tests.fakes.focus_rules import broken_rules

TODAY = date(2026, 11, 24)


def written(today: date = TODAY, **fields: Any) -> list[dict[str, str]]:
    """One event's rows as a reader of the CSV has them: null is an empty cell."""
    [rolled] = rolled_up([closed(1, at=NOON, **{name: fields[name] for name in fields if name != "adjusted"})])
    rolled["adjusted_nano_usd"] = fields.get("adjusted", 0)
    rows = [{name: value or "" for name, value in row.items()} for row in focus_rows(rolled, today)]
    assert list(broken_rules(COLUMNS, rows)) == []
    return rows


def by_meter(rows: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    return {row["SkuMeter"]: (row["ConsumedQuantity"], row["BilledCost"]) for row in rows}


def test_each_meter_is_a_row_with_its_tokens_and_its_cost() -> None:
    usage = Usage(10, 5, cached_tokens=4, reasoning_tokens=2)
    kinds = (("input", 6_000), ("cached", 1_000), ("output", 3_000), ("reasoning", 2_000))
    assert by_meter(written(usage=usage, cost_by_kind=kinds)) == {
        "Input Tokens": ("6", "0.000006"),
        "Cached Input Tokens": ("4", "0.000001"),
        "Output Tokens": ("5", "0.000005"),
    }


@pytest.mark.parametrize("endpoint", ["retrieval", "training"])
def test_retrieval_and_training_are_meters_of_their_own(endpoint: str) -> None:
    rows = written(endpoint=endpoint, usage=Usage(10, 0), cost_nano_usd=200, cost_by_kind=((endpoint, 200),))
    assert by_meter(rows) == {f"{endpoint.title()} Tokens": ("10", "0.0000002")}


def test_what_has_no_price_costs_nothing_there_and_is_told() -> None:
    """A cost may not be null, and 0 alone would be a lie."""
    for usage in (Usage(10, 5), None):
        rows = written(usage=usage, cost_nano_usd=None, cost_by_kind=(), cost_status="unpriced")
        assert sum(int(row["x_UnpricedAttempts"]) for row in rows) == 1
        assert {row["BilledCost"] for row in rows} == {"0.00"}


def test_a_correction_is_a_row_of_its_own_and_of_its_class_once_the_month_is_over() -> None:
    now, later = written(adjusted=-7)[-1], written(date(2026, 12, 1), adjusted=-7)[-1]
    assert (now["ChargeCategory"], now["ChargeClass"], now["BilledCost"]) == ("Adjustment", "", "-0.000000007")
    assert later["ChargeClass"] == "Correction"
    assert now["ChargePeriodStart"] == "2026-11-23T00:00:00Z"
    assert now["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"


def test_a_cost_that_belongs_to_no_meter_is_not_lost() -> None:
    rows = written(cost_nano_usd=12_001)
    assert by_meter(rows)["Requests"] == ("1", "0.000000001")


def test_the_rules_find_what_breaks_them() -> None:
    """They are of no use if they let everything pass."""
    good = written()[0]
    for change in (
        {"BilledCost": ""},
        {"BilledCost": "NaN"},
        {"ChargeCategory": "Charge"},
        {"ConsumedUnit": ""},
        {"PricingQuantity": ""},
        {"ChargePeriodEnd": "2026-12-24T00:00:00Z"},
        {"ChargePeriodStart": "2026-11-23"},
        {"ChargeCategory": "Adjustment"},
    ):
        assert list(broken_rules(COLUMNS, [good | change])), change
    assert list(broken_rules(COLUMNS[1:], [good]))
    assert list(broken_rules((*COLUMNS, "Team"), [good]))
