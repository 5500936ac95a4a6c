"""What is read of a job object, and the rows that it comes to."""

import json
from datetime import date
from typing import Any

import pytest

from gateway.core.usage import Usage
from gateway.ledger.jobs.reading import (
    Tally,
    Told,
    batch_events,
    read_page,
    read_told,
    training_event,
    unknown_event,
)
from gateway.ledger.jobs.store import Job
from gateway.pricing.overlay import Price, PriceOverlay
from gateway.pricing.table import PriceTable, table_from
from tests.fakes.calls import NOON

BASE = "gpt-4o-mini-2024-07-18"
JOB = Job("ftjob-1", "training", "main", "support", "key_1", "acme", BASE, NOON - 7_200)
BATCH = Job("batch_1", "batch", "main", "support", "key_1", "acme", "", NOON - 7_200)


NO_PRICES = table_from(PriceOverlay())


def prices(**rates: Any) -> PriceTable:
    entry = {"models": (f"ft:{BASE}",), "source": "tests", "read_on": date(2026, 11, 1), **rates}
    return table_from(PriceOverlay(prices=(Price.model_validate(entry),)))


def training(**fields: Any) -> Told:
    given = {"id": "ftjob-1", "object": "fine_tuning.job", "status": "succeeded", "model": BASE, **fields}
    found = read_told(json.dumps(given).encode())
    assert found is not None
    return found


def line(model: str = "m", status: int = 200, **usage: int) -> bytes:
    body = {"model": model, "choices": [], **({"usage": usage} if usage else {})}
    return json.dumps({"custom_id": "1", "response": {"status_code": status, "body": body}, "error": None}).encode()


@pytest.mark.parametrize("tuned", [None, f"ft:{BASE}:acme:tone:Ab12"])
def test_training_costs_the_training_rate_of_its_base(tuned: str | None) -> None:
    """Also of a job that was cancelled and has no model of its own."""
    told = training(trained_tokens=1_000_001, fine_tuned_model=tuned, status="succeeded" if tuned else "cancelled")
    event = training_event(JOB, told, NOON, prices(training="3.00", input="0.30"))
    assert (event.cost_nano_usd, event.cost_status) == (3_000_003_000, "priced")
    assert event.usage == Usage(1_000_001, 0)
    assert (event.id, event.at, event.endpoint, event.organisation) == ("ftjob-1", NOON, "training", "acme")
    assert event.outcome == ("ok" if tuned else "interrupted")


def test_what_is_not_told_or_has_no_price_is_unknown_and_not_0() -> None:
    silent = training_event(JOB, training(trained_tokens=None), NOON, prices(training="3.00"))
    assert (silent.usage, silent.cost_nano_usd, silent.cost_status) == (None, None, "unpriced")
    priceless = training_event(JOB, training(trained_tokens=5), NOON, prices(input="1.00"))
    assert (priceless.usage, priceless.cost_nano_usd, priceless.cost_status) == (Usage(5, 0), None, "unpriced")
    nothing = training_event(JOB, training(trained_tokens=0), NOON, prices(training="3.00"))
    assert (nothing.cost_nano_usd, nothing.cost_status) == (0, "priced")


def test_training_by_the_hour_is_an_estimate_of_its_time() -> None:
    told = training(created_at=int(NOON) - 5_400, finished_at=int(NOON))
    event = training_event(JOB, told, NOON, prices(training_per_hour="100"))
    assert (event.cost_nano_usd, event.cost_status) == (150_000_000_000, "estimated")


def test_lines_are_summed_by_model_with_every_detail() -> None:
    tally = Tally()
    tally.add(line("a", prompt_tokens=10, completion_tokens=5))
    tally.add(line("a", input_tokens=1, output_tokens=2))
    tally.add(line("b", prompt_tokens=7, completion_tokens=0))
    tally.add(line("a", status=400))
    events = batch_events(BATCH, Told("batch_1", "batch", "completed"), NOON, tally, NO_PRICES)
    assert [(event.id, event.model, event.usage) for event in events] == [
        ("batch_1:a", "a", Usage(11, 7, service_tier="batch")),
        ("batch_1:b", "b", Usage(7, 0, service_tier="batch")),
    ]
    assert {event.cost_nano_usd for event in events} == {None}


def test_a_batch_costs_what_its_own_rates_say_and_is_unpriced_without_them() -> None:
    tally = Tally()
    tally.add(line(f"ft:{BASE}:acme::x", prompt_tokens=1_000, completion_tokens=500))
    told = Told("batch_1", "batch", "completed")
    half = prices(input="0.30", output="1.20", tiers={"batch": {"input": "0.15", "output": "0.60"}})
    (event,) = batch_events(BATCH, told, NOON, tally, half)
    assert (event.cost_nano_usd, event.cost_status) == (1_000 * 150 + 500 * 600, "priced")
    assert sum(nano for _, nano in event.cost_by_kind) == event.cost_nano_usd
    (event,) = batch_events(BATCH, told, NOON, tally, prices(input="0.30", output="1.20"))
    assert (event.cost_nano_usd, event.cost_status) == (None, "unpriced")


def test_cached_and_reasoning_tokens_of_lines_are_summed_too() -> None:
    usage = {
        "prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    written = json.dumps({"response": {"status_code": 200, "body": {"model": "a", "usage": usage}}}).encode()
    tally = Tally()
    tally.add(written)
    tally.add(written)
    assert tally.models["a"].cached_tokens == 8
    assert tally.models["a"].reasoning_tokens == 4


@pytest.mark.parametrize("odd", [line("a"), b"{not json", b"\xff", line("a", prompt_tokens=-1, completion_tokens=2)])
def test_a_line_that_does_not_say_what_it_used_is_seen_and_not_taken_for_nothing(odd: bytes) -> None:
    tally = Tally()
    tally.add(odd)
    (event,) = batch_events(BATCH, Told("batch_1", "batch", "completed"), NOON, tally, NO_PRICES)
    assert (event.id, event.usage, event.cost_nano_usd) == ("batch_1:unmetered", None, None)


def test_a_batch_without_a_line_is_free_only_where_the_provider_says_that_nothing_was_answered() -> None:
    for counts, cost in (({"completed": 0}, 0), ({"completed": 3}, None), (None, None)):
        written = {"id": "batch_1", "object": "batch", "status": "expired", "request_counts": counts}
        told = read_told(json.dumps(written).encode())
        assert told is not None
        (event,) = batch_events(BATCH, told, NOON, Tally(), NO_PRICES)
        assert (event.id, event.cost_nano_usd) == ("batch_1", cost)


def test_a_job_of_which_nothing_can_be_learned_is_a_row_all_the_same() -> None:
    event = unknown_event(JOB, NOON)
    assert (event.id, event.usage, event.cost_nano_usd, event.cost_status) == ("ftjob-1", None, None, "unpriced")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"id":1}', b'{"id":"x","object":"file"}', b"\xff", b"{" * 9_000, b'{"object":"batch"}']
)
def test_what_is_no_job_is_none(body: bytes) -> None:
    assert read_told(body) is None
    assert read_page(body) == []


def test_only_an_end_is_an_end() -> None:
    for status in ("queued", "running", "validating_files", "paused", "in_progress", "finalizing", "cancelling", ""):
        assert not training(status=status).has_ended
    page = {"object": "list", "data": [{"id": "a", "object": "batch", "status": "expired"}, {"id": "b", "object": "x"}]}
    assert [(one.id, one.has_ended) for one in read_page(json.dumps(page).encode())] == [("a", True)]
