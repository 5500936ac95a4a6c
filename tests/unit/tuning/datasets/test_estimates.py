"""What training costs, by the documented rule of epochs and prices that are written down."""

from datetime import date

import pytest

from gateway.core.document import read_document, validate
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.rates import Rates
from gateway.pricing.table import PriceTable, table_from
from gateway.tuning.datasets.estimates import (
    Call,
    Finished,
    break_even,
    calibrated,
    default_epochs,
    estimate,
    trainer_costs,
)
from gateway.tuning.datasets.statistics import spread, statistics
from tests.fakes.training_rows import chat, distinct, lines

DAY = date(2026, 11, 24)
MINI = Rates(input=300_000, output=1_200_000, training=3_000_000)
PLAIN_MINI = Rates(input=150_000, output=600_000)
MINI_41 = Rates(input=800_000, output=3_200_000, training=5_000_000)
PLAIN_41 = Rates(input=400_000, output=1_600_000)
LUNA = Rates(input=100_000, output=500_000)
CALL = Call(prompt=400, answer=200, context=2_000)


@pytest.mark.parametrize(
    ("rows", "epochs"),
    [
        (10, 10),
        (12, 8),
        (20, 5),
        (33, 3),
        (34, 3),
        (8_333, 3),
        (8_334, 2),
        (12_500, 2),
        (12_501, 1),
        (99_999, 1),
        (1, 25),
    ],
)
def test_epochs_are_the_cookbooks(rows: int, epochs: int) -> None:
    assert default_epochs(rows) == epochs


@pytest.mark.parametrize(
    ("training", "tuned", "rag", "requests"),
    [
        (4_500_000_000, MINI, PLAIN_MINI, 37_500),
        (4_500_000_000, MINI, PLAIN_41, 4_891),
        (4_500_000_000, MINI, LUNA, None),
        (7_500_000_000, MINI_41, PLAIN_41, 23_437),
        (7_500_000_000, MINI_41, LUNA, None),
    ],
)
def test_break_even_is_the_known_table(training: int, tuned: Rates, rag: Rates, requests: int | None) -> None:
    found = break_even(training, tuned, rag, "rag-model", CALL)
    assert found.requests == requests
    assert found.is_never == (requests is None)
    assert not found.missing


def test_an_unknown_price_is_unknown_and_not_never() -> None:
    found = break_even(None, MINI, None, "odd", CALL)
    assert found.requests is None
    assert not found.is_never
    assert set(found.missing) == {"training", "odd"}


def prices(text: str) -> PriceTable:
    return table_from(validate(read_document(text, "prices.yaml"), PriceOverlay))


def test_one_trainers_price_is_not_anothers() -> None:
    table = prices(
        "prices:\n"
        "  - {models: ['ft:gpt-4o-mini'], input: 0.3, output: 1.2, training: 3.00, source: s, read_on: 2026-11-23}\n"
        "  - {models: ['meta/llama'], provider: together, training: 0.48, source: s, read_on: 2026-11-23}\n"
    )
    costs = {one.trainer: one.nano_usd for one in trainer_costs("gpt-4o-mini", 1_000_000, table, DAY)}
    assert costs == {"openai": 3_000_000_000, "azure": None, "together": None, "fireworks": None, "local": None}
    costs = {one.trainer: one.nano_usd for one in trainer_costs("meta/llama", 1_000_000, table, DAY)}
    assert costs["together"] == 480_000_000
    assert costs["openai"] is None
    assert all(one.note for one in trainer_costs("meta/llama", 1, table, DAY))


def test_longer_examples_are_billed_up_to_the_limit() -> None:
    rows = [*distinct(9), chat("a", "word " * 3_000)]
    whole, cut = statistics(lines(*rows), "gpt-4o", None), statistics(lines(*rows), "gpt-4o", 500)
    assert cut.per_epoch == whole.per_epoch - (whole.tokens.most - 500)
    assert estimate(cut).epochs == 10
    assert estimate(cut).billed_tokens == cut.per_epoch * 10
    assert estimate(cut, epochs=2).billed_tokens == cut.per_epoch * 2


def test_percentiles_are_by_nearest_rank() -> None:
    found = spread(range(1, 101))
    assert (found.p5, found.p50, found.p95, found.most) == (5, 50, 95, 100)
    assert spread([]).most == 0


def test_statistics_count_what_is_there() -> None:
    found = statistics(lines(*[chat(f"{n}", "yes" if n % 3 else "no") for n in range(12)], b"junk\n"), "gpt-4o", None)
    assert (found.rows, found.unread) == (12, 1)
    assert dict(found.roles) == {"user": 12, "assistant": 12}
    assert dict(found.answers) == {"yes": 8, "no": 4}


def test_an_estimate_learns_from_jobs_that_ended() -> None:
    made = estimate(statistics(lines(*distinct(10)), "gpt-4o", None))
    none = calibrated(made, [])
    assert none.ratio is None
    assert none.billed_tokens == made.billed_tokens
    found = calibrated(made, [Finished(1_000, 1_100), Finished(3_000, 3_300), Finished(1_000, 900), Finished(0, 5)])
    assert found.jobs == 3
    assert found.ratio == pytest.approx(5_300 / 5_000)
    assert found.low == pytest.approx(0.9)
    assert found.high == pytest.approx(1.1)
    assert found.billed_low < found.billed_tokens < found.billed_high
