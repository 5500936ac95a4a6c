"""A price file is taken whole or not at all."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.core.document import read_document, validate
from gateway.core.errors import BadConfiguration
from gateway.pricing.overlay import PriceOverlay

ENTRY: dict[str, Any] = {"models": ["m"], "input": 0.3, "source": "a page", "read_on": date(2026, 11, 23)}


def overlay(**changes: Any) -> PriceOverlay:
    return PriceOverlay.model_validate({"prices": [{**ENTRY, **changes}]})


def test_dollars_per_million_become_whole_pico_dollars_per_token() -> None:
    """0.3 is not exact in binary: a price that went through a float would be off by a fraction."""
    rates = overlay(cached=0.000001, training_per_hour=100).prices[0].rates("here")
    assert (rates.input, rates.cached, rates.output) == (300_000, 1, None)
    assert rates.training_hour_nano_usd == 100_000_000_000
    assert rates.source == "here"


@pytest.mark.parametrize(
    "changes",
    [
        {"input": -0.1},
        {"input": float("nan")},
        {"output": float("inf")},
        {"input": "1e999"},
        {"input": 0.0000001},
        {"cached_input": 1},
        {"models": []},
        {"models": [""]},
        {"source": ""},
        {"read_on": None},
        {"from": date(2026, 2, 1), "to": date(2026, 1, 1)},
        {"input": None},
        {"long_context": [{"over": 0, "input": 1}]},
        {"long_context": [{"over": 5, "input": -1}]},
    ],
)
def test_a_faulty_entry_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        overlay(**changes)


def test_two_entries_for_one_model_and_day_are_refused() -> None:
    with pytest.raises(ValidationError, match="two entries price 'm' on the same day"):
        PriceOverlay.model_validate(
            {"prices": [{**ENTRY, "to": date(2026, 1, 31)}, {**ENTRY, "from": date(2026, 1, 31)}]}
        )


def test_a_fault_names_the_line_and_the_column_of_the_file() -> None:
    text = "prices:\n  - models: [m]\n    input: -1\n    source: a page\n    read_on: 2026-11-23\n"
    with pytest.raises(BadConfiguration) as caught:
        validate(read_document(text, "policies/prices.yaml"), PriceOverlay)
    assert caught.value.faults == ["policies/prices.yaml:3:5: input is -1; input should be greater than or equal to 0."]
