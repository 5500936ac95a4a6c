"""What an attempt costs: whole nano-dollars per kind, or None where a figure would be a guess."""

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.usage import Usage
from gateway.pricing.rates import LongContext, Rates, cost_by_kind, nano_from_pico, training_cost

MINI = Rates(input=150_000, cached=75_000, output=600_000, training=3_000_000, source="test")

rate = st.integers(0, 10**9)
tokens = st.integers(0, 10**9)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    given_input, given_output = draw(tokens), draw(tokens)
    cached = draw(st.integers(0, given_input))
    return Usage(
        input_tokens=given_input,
        output_tokens=given_output,
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, given_input - cached)),
        reasoning_tokens=draw(st.integers(0, given_output)),
    )


def test_a_million_tokens_cost_what_the_price_list_says() -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    costs = cost_by_kind(MINI, usage)
    assert costs is not None
    assert dict(costs) == {"input": 150_000_000, "cached": 0, "output": 600_000_000, "reasoning": 0}


def test_cached_and_reasoning_tokens_are_taken_out_of_their_wholes_and_billed_once() -> None:
    usage = Usage(input_tokens=1_000, output_tokens=500, cached_tokens=400, reasoning_tokens=200)
    costs = dict(cost_by_kind(MINI, usage) or ())
    assert costs == {"input": 90_000, "cached": 30_000, "output": 180_000, "reasoning": 120_000}


def test_cached_tokens_cost_as_much_as_others_when_no_cached_rate_is_known() -> None:
    rates = Rates(input=3_000_000, output=6_000_000)
    usage = Usage(input_tokens=10, output_tokens=0, cached_tokens=4)
    assert dict(cost_by_kind(rates, usage) or ()) == {
        "input": 18_000,
        "cached": 12_000,
        "output": 0,
        "reasoning": 0,
    }


def test_cache_writes_are_billed_at_their_own_rate_within_the_input() -> None:
    rates = Rates(input=1_000_000, cached=100_000, cache_write=1_250_000, output=0)
    usage = Usage(input_tokens=100, output_tokens=0, cached_tokens=50, cache_write_tokens=20)
    assert dict(cost_by_kind(rates, usage) or ())["input"] == 30 * 1_000 + 20 * 1_250


def test_an_embedding_model_needs_no_output_rate() -> None:
    rates = Rates(input=20_000)
    costs = cost_by_kind(rates, Usage(input_tokens=8, output_tokens=0))
    assert costs is not None
    assert sum(nano for _, nano in costs) == 160


@pytest.mark.parametrize(
    ("rates", "usage"),
    [
        (Rates(input=20_000), Usage(input_tokens=1, output_tokens=1)),
        (Rates(output=20_000), Usage(input_tokens=1, output_tokens=1)),
        (Rates(), Usage(input_tokens=0, output_tokens=1, reasoning_tokens=1)),
        (MINI, Usage(input_tokens=3, output_tokens=0, cached_tokens=4)),
        (MINI, Usage(input_tokens=3, output_tokens=1, reasoning_tokens=2)),
        (MINI, Usage(input_tokens=-3, output_tokens=1)),
        (MINI, Usage(input_tokens=3, output_tokens=1, cached_tokens=2, cache_write_tokens=2)),
    ],
)
def test_a_missing_rate_or_a_contradiction_has_no_cost(rates: Rates, usage: Usage) -> None:
    assert cost_by_kind(rates, usage) is None


def test_a_long_request_pays_the_higher_rate_for_all_its_tokens() -> None:
    rates = Rates(input=1_000, output=2_000, long_context=(LongContext(over=100, input=5_000, output=9_000),))
    at_the_edge = dict(cost_by_kind(rates, Usage(input_tokens=100, output_tokens=1)) or ())
    beyond = dict(cost_by_kind(rates, Usage(input_tokens=101, output_tokens=1)) or ())
    assert (at_the_edge["input"], at_the_edge["output"]) == (100, 2)
    assert (beyond["input"], beyond["output"]) == (505, 9)


@pytest.mark.parametrize(("pico", "nano"), [(0, 0), (499, 0), (500, 1), (1_499, 1), (1_500, 2)])
def test_half_a_nano_dollar_is_rounded_up(pico: int, nano: int) -> None:
    assert nano_from_pico(pico) == nano


@pytest.mark.parametrize("field", ["input", "cached", "cache_write", "output", "training", "training_hour_nano_usd"])
def test_a_negative_rate_cannot_be_made(field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="must be 0 or more"):
        msgspec.convert({field: -1}, Rates)


def test_a_negative_rate_cannot_be_made_in_code_either() -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        Rates(long_context=(LongContext(over=1, input=-1),))


def test_training_is_priced_by_the_trained_token() -> None:
    assert training_cost(MINI, 1_500_000) == 4_500_000_000
    assert training_cost(Rates(input=1), 10) is None
    assert training_cost(Rates(input=1), 0) == 0
    assert training_cost(MINI, -1) is None


@given(usages(), rate, rate, rate, rate)
def test_costs_are_whole_never_negative_and_within_half_a_nano_dollar_a_kind(
    usage: Usage, plain: int, cached: int, write: int, output: int
) -> None:
    rates = Rates(input=plain, cached=cached, cache_write=write, output=output)
    costs = cost_by_kind(rates, usage)
    assert costs is not None
    assert [kind for kind, _ in costs] == ["input", "cached", "output", "reasoning"]
    assert all(isinstance(nano, int) and nano >= 0 for _, nano in costs)
    unwritten = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    exact = Fraction(
        unwritten * plain
        + usage.cache_write_tokens * write
        + usage.cached_tokens * cached
        + usage.output_tokens * output,
        1_000,
    )
    assert abs(sum(nano for _, nano in costs) - exact) <= Fraction(4, 2)


SENSED = Rates(input=2_500, output=10_000, cached=1_250, audio_input=40_000, audio_output=80_000, image_output=30_000)


def test_audio_and_images_are_taken_out_of_their_wholes_and_billed_once() -> None:
    usage = Usage(100, 50, cached_tokens=10, audio_input_tokens=40, image_input_tokens=20, audio_output_tokens=30)
    costs = dict(cost_by_kind(SENSED, usage) or ())
    assert costs["cached"] == 13
    # 50 tokens at the text rate, images among them; 40 of audio.
    assert costs["input"] == (50 * 2_500 + 40 * 40_000) // 1_000
    assert costs["output"] == (20 * 10_000 + 30 * 80_000) // 1_000


def test_audio_that_was_cached_is_billed_as_cached_alone() -> None:
    usage = Usage(100, 0, cached_tokens=90, audio_input_tokens=80)
    costs = dict(cost_by_kind(SENSED, usage) or ())
    assert (costs["cached"], costs["input"]) == (113, 400)


def test_audio_and_pictures_without_a_rate_of_their_own_have_no_cost() -> None:
    """They cost many times what text does."""
    text = Rates(input=2_500, output=10_000)
    assert cost_by_kind(text, Usage(100, 0, audio_input_tokens=1)) is None
    assert cost_by_kind(text, Usage(100, 10, audio_output_tokens=1)) is None
    assert cost_by_kind(text, Usage(100, 10, image_output_tokens=1)) is None
    assert cost_by_kind(text, Usage(100, 10, image_input_tokens=40)) == cost_by_kind(text, Usage(100, 10))


def test_a_tier_has_its_own_rates_and_an_unknown_one_has_no_cost() -> None:
    rates = Rates(input=2_000, output=4_000, tiers=(("flex", Rates(input=1_000, output=2_000)),))
    usage = Usage(100, 10)
    standard, flex = (cost_by_kind(rates, msgspec.structs.replace(usage, service_tier=tier)) for tier in ("", "flex"))
    assert dict(standard or ()) == {"input": 200, "cached": 0, "output": 40, "reasoning": 0}
    assert dict(flex or ()) == {"input": 100, "cached": 0, "output": 20, "reasoning": 0}
    assert cost_by_kind(rates, msgspec.structs.replace(usage, service_tier="priority")) is None
