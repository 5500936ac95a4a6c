"""Which price a model has on a day: the file over the package, the longest name first, or none."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.document import read_document, validate
from gateway.core.usage import Usage
from gateway.pricing.model_ids import is_tuned, price_names
from gateway.pricing.overlay import PriceOverlay
from gateway.pricing.package import SOURCE
from gateway.pricing.rates import Rates, cost_by_kind
from gateway.pricing.table import MAX_HELD, PriceTable, table_from

DAY = date(2026, 11, 23)
SHIPPED = Path(__file__).parents[3] / "policies" / "prices.yaml"
READ: dict[str, Any] = {"source": "a page", "read_on": DAY}


def table(*entries: dict[str, Any]) -> PriceTable:
    return table_from(PriceOverlay.model_validate({"prices": [{**READ, **entry} for entry in entries]}))


def shipped() -> PriceTable:
    return table_from(validate(read_document(SHIPPED.read_bytes(), SHIPPED.name), PriceOverlay))


def input_rate(found: Rates | None) -> int | None:
    return None if found is None else found.input


SHIPPED_ONCE = shipped()

# USD per million tokens: input, cached, output, training. From OpenAI's table, written again by hand.
TUNED = {
    "gpt-4.1-2025-04-14": (3.0, 0.75, 12.0, 25.0),
    "gpt-4.1-mini-2025-04-14": (0.8, 0.2, 3.2, 5.0),
    "gpt-4.1-nano-2025-04-14": (0.2, 0.05, 0.8, 1.5),
    "gpt-4o-2024-08-06": (3.75, 1.875, 15.0, 25.0),
    "gpt-4o-mini-2024-07-18": (0.3, 0.15, 1.2, 3.0),
    "o4-mini-2025-04-16": (4.0, 1.0, 16.0, None),
    "gpt-3.5-turbo": (3.0, None, 6.0, 8.0),
    "davinci-002": (12.0, None, 12.0, 6.0),
    "babbage-002": (1.6, None, 1.6, 0.4),
}


@pytest.mark.parametrize("tail", [":acme:support:Ab12", ":acme::Ab12", ":acme:support:Ab12:ckpt-step-90"])
@pytest.mark.parametrize("base", TUNED)
def test_every_form_of_a_tuned_id_has_the_published_rates(base: str, tail: str) -> None:
    prices = shipped()
    undated = base[:-11] if base[-11:-8] == "-20" else base
    for name in (base, undated):
        rates = prices.rates(f"ft:{name}{tail}", DAY)
        assert rates is not None
        found = (rates.input, rates.cached, rates.output, rates.training)
        assert found == tuple(None if usd is None else round(usd * 1_000_000) for usd in TUNED[base])
        assert rates.source == "policies/prices.yaml"


def test_an_older_snapshot_with_a_short_date_finds_its_base() -> None:
    assert input_rate(shipped().rates("ft:gpt-3.5-turbo-0125:acme::Ab12", DAY)) == 3_000_000


def test_training_by_the_hour_is_kept_apart_from_training_by_the_token() -> None:
    rates = shipped().rates("ft:o4-mini-2025-04-16:acme::x", DAY)
    assert rates is not None
    assert (rates.training, rates.training_hour_nano_usd) == (None, 100_000_000_000)


def test_a_tuned_model_never_takes_the_price_of_its_untuned_base() -> None:
    prices = table()
    assert input_rate(prices.rates("gpt-4.1-mini", DAY)) == 400_000
    assert prices.rates("ft:gpt-4.1-mini-2025-04-14:acme::x", DAY) is None
    assert prices.rates("ft:gpt-4.1-mini-2025-04-14:acme::x", DAY, "openai") is None
    assert prices.rates("ft:gpt-4-0613:acme::x", DAY, "openai") is None
    assert prices.rates("gpt-4.1-mini-2025-04-14.ft-0a1b", DAY, "azure") is None


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["ft:b-2024-01-01:acme:s:id"], 1),
        (["ft:b-2024-01-01:acme:s:id", "ft:b-2024-01-01:acme", "ft:b-2024-01-01", "ft:b"], 1),
        (["ft:b", "ft:b-2024-01-01", "ft:b-2024-01-01:acme"], 3),
        (["ft:b", "ft:b-2024-01-01"], 2),
        (["ft:b"], 1),
        (["ft:b-2024-01-01:other", "ft:", "b-2024-01-01", "b"], None),
    ],
)
def test_the_longest_name_wins(names: list[str], expected: int | None) -> None:
    prices = table(*({"models": [name], "input": count} for count, name in enumerate(names, 1)))
    found = input_rate(prices.rates("ft:b-2024-01-01:acme:s:id", DAY))
    assert found == (None if expected is None else expected * 1_000_000)


def test_an_entry_holds_from_its_first_to_its_last_day() -> None:
    prices = table(
        {"models": ["m"], "input": 1, "from": date(2026, 1, 1), "to": date(2026, 6, 30)},
        {"models": ["m"], "input": 2, "from": date(2026, 7, 1)},
    )
    days = [date(2025, 12, 31), date(2026, 1, 1), date(2026, 6, 30), date(2026, 7, 1), date(2030, 1, 1)]
    assert [input_rate(prices.rates("m", day)) for day in days] == [
        None,
        1_000_000,
        1_000_000,
        2_000_000,
        2_000_000,
    ]


def test_the_file_wins_over_the_package_and_a_provider_over_any() -> None:
    prices = table(
        {"models": ["gpt-4.1-mini"], "input": 9},
        {"models": ["gpt-4.1-mini"], "input": 0, "output": 0, "provider": "lab"},
    )
    assert input_rate(prices.rates("gpt-4.1-mini", DAY)) == 9_000_000
    assert input_rate(prices.rates("gpt-4.1-mini", DAY, "openai")) == 9_000_000
    assert input_rate(prices.rates("gpt-4.1-mini", DAY, "lab")) == 0


def test_the_package_answers_where_the_file_is_silent() -> None:
    rates = table().rates("gpt-4o-mini", DAY)
    assert rates is not None
    assert (rates.input, rates.cached, rates.output) == (150_000, 75_000, 600_000)
    assert rates.source == SOURCE


def test_an_embedding_model_is_priced_without_an_output_rate() -> None:
    rates = table().rates("text-embedding-3-small", DAY)
    assert rates is not None
    assert rates.output is None
    costs = cost_by_kind(rates, Usage(input_tokens=1_000_000, output_tokens=0))
    assert dict(costs or ())["input"] == 20_000_000


def test_a_package_price_with_a_long_context_tier_keeps_it() -> None:
    rates = table().rates("gpt-6-luna", DAY)
    assert rates is not None
    assert rates.long_context
    short = cost_by_kind(rates, Usage(input_tokens=rates.long_context[0].over, output_tokens=1))
    long = cost_by_kind(rates, Usage(input_tokens=rates.long_context[0].over + 1, output_tokens=1))
    assert dict(long or ())["input"] > dict(short or ())["input"]


@pytest.mark.parametrize("model", ["", "nobody-knows-this", "ft:", "ft::::", "x" * 5_000, "\x00", "gpt-6-of-tomorrow"])
def test_an_unknown_model_has_no_price(model: str) -> None:
    assert shipped().rates(model, DAY) is None
    assert shipped().rates(model, DAY, "no-such-provider") is None


def test_names_that_callers_invent_do_not_grow_the_table_without_limit() -> None:
    prices = table()
    for count in range(MAX_HELD + 50):
        prices.rates(f"invented-{count}", DAY)
    assert len(prices._held) <= MAX_HELD
    assert input_rate(prices.rates("gpt-4o-mini", DAY)) == 150_000


def test_a_second_question_gets_the_same_value() -> None:
    prices = shipped()
    assert prices.rates("gpt-4o-mini", DAY) is prices.rates("gpt-4o-mini", DAY)


@given(st.text(max_size=60))
def test_any_text_is_a_model_name_and_never_an_error(model: str) -> None:
    names = price_names(model)
    assert names[0] == model
    if is_tuned(model) and model.startswith("ft:"):
        assert all(name.startswith("ft:") for name in names)
    found = SHIPPED_ONCE.rates(model, DAY)
    assert found is None or found.source


@pytest.mark.parametrize("base", TUNED)
def test_azures_form_has_the_tuned_price_until_it_has_one_of_its_own(base: str) -> None:
    prices = shipped()
    undated = base[:-11] if base[-11:-8] == "-20" else base
    for name in (f"{base}.ft-0e208cf33a6a", f"azure/{base}.ft-0e208cf33a6a", f"{undated}.ft-0e208cf33a6a"):
        assert input_rate(prices.rates(name, DAY)) == round(TUNED[base][0] * 1_000_000)
    own = table({"models": ["gpt-4o-mini.ft"], "input": 7}, {"models": ["ft:gpt-4o-mini"], "input": 8})
    assert input_rate(own.rates("gpt-4o-mini-2024-07-18.ft-0e2", DAY)) == 7_000_000
    assert input_rate(own.rates("ft:gpt-4o-mini-2024-07-18:acme::0e2", DAY)) == 8_000_000


# USD per million tokens at the tier `batch`, written again by hand: not always half of the standard ones.
BATCH = {
    "o4-mini-2025-04-16": (2.0, 0.5, 8.0),
    "gpt-4.1-2025-04-14": (1.5, 0.5, 6.0),
    "gpt-4.1-mini-2025-04-14": (0.4, 0.1, 1.6),
    "gpt-4.1-nano-2025-04-14": (0.1, 0.025, 0.4),
    "gpt-4o-2024-08-06": (2.225, 0.9, 12.5),
    "gpt-4o-mini-2024-07-18": (0.15, 0.075, 0.6),
    "gpt-3.5-turbo": (1.5, None, 3.0),
    "davinci-002": (6.0, None, 6.0),
    "babbage-002": (0.8, None, 0.9),
}


@pytest.mark.parametrize("base", BATCH)
def test_a_tuned_models_batch_rates_are_the_published_ones_and_no_other_tier_has_any(base: str) -> None:
    rates = shipped().rates(f"ft:{base}:acme::Ab12", DAY)
    assert rates is not None
    batch = rates.at_tier("batch")
    assert batch is not None
    found = (batch.input, batch.cached, batch.output)
    assert found == tuple(None if usd is None else round(usd * 1_000_000) for usd in BATCH[base])
    assert rates.at_tier("flex") is None


def test_a_tier_may_be_a_multiple_of_the_standard_rates_and_of_their_long_context() -> None:
    step = {"over": 100, "input": 4}
    entry = {"models": ["m"], "input": 2, "output": 3, "audio_input": 8, "long_context": [step]}
    rates = table({**entry, "tiers": {"batch": {"multiplier": 0.5}}}).rates("m", DAY)
    assert rates is not None
    batch = rates.at_tier("batch")
    assert batch is not None
    assert (batch.input, batch.output, batch.audio_input) == (1_000_000, 1_500_000, 4_000_000)
    assert (batch.long_context[0].over, batch.long_context[0].input) == (100, 2_000_000)


@pytest.mark.parametrize(
    ("tiers", "told"),
    [
        ({"batch": {}}, "either its own rates or a multiplier"),
        ({"batch": {"multiplier": 0.5, "input": 1}}, "either its own rates or a multiplier"),
        ({"default": {"input": 1}}, "is the standard tier"),
        ({"batch": {"multiplier": -1}}, "greater than 0"),
    ],
)
def test_a_tier_that_says_nothing_or_two_things_is_a_fault(tiers: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        table({"models": ["m"], "input": 2, "tiers": tiers})


def test_a_model_that_speaks_has_audio_rates_in_the_package() -> None:
    rates = table().rates("gemini-2.5-flash", DAY)
    assert rates is not None
    assert (rates.audio_input or 0) > (rates.input or 0)
    unknown = table().rates("gpt-4o-audio-preview", DAY)
    assert unknown is not None
    assert cost_by_kind(unknown, Usage(10, 0, audio_input_tokens=5)) is None
