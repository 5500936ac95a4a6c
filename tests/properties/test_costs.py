"""Money is an integer, and its parts sum to the whole: by kind, by row, and by dashboard."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.core.event import Closing
from gateway.core.money import NANO_PER_USD
from gateway.core.usage import Usage
from gateway.ledger.records import Final
from gateway.metrics.instruments import Instruments
from gateway.metrics.observe import Observer
from gateway.pricing.rates import LongContext, Rates, priced
from tests.fakes.books import books
from tests.fakes.calls import DIRECT, SUPPORT, chat, decided, facts

RATE = st.none() | st.integers(0, 10**9)
TOKENS = st.integers(0, 10**7)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    tokens_in, tokens_out = draw(TOKENS), draw(TOKENS)
    cached = draw(st.integers(0, tokens_in))
    return Usage(
        tokens_in,
        tokens_out,
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, tokens_in - cached)),
        reasoning_tokens=draw(st.integers(0, tokens_out)),
        source=draw(st.sampled_from(["provider", "estimated"])),
    )


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    steps = draw(st.lists(st.builds(LongContext, st.integers(1, 10**7), RATE, RATE, RATE, RATE), max_size=2))
    return Rates(
        draw(RATE), draw(RATE), draw(RATE), draw(RATE), long_context=tuple(sorted(steps, key=lambda s: s.over))
    )


@given(rates(), usages())
def test_the_kinds_sum_to_the_cost_or_there_is_none(given_rates: Rates, usage: Usage) -> None:
    kinds, cost, status = priced(given_rates, usage)
    if cost is None:
        assert (kinds, status) == ((), "unpriced")
        return
    assert isinstance(cost, int)
    assert cost == sum(nano for _, nano in kinds)
    assert all(nano >= 0 for _, nano in kinds)
    assert [kind for kind, _ in kinds] == [kind for kind, _ in usage.by_kind()]
    assert status == ("priced" if usage.source == "provider" else "estimated")


@given(usages(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_cost_is_within_a_nano_dollar_of_each_kind_of_the_exact_one(
    usage: Usage, rate_in: int, rate_out: int
) -> None:
    _, cost, _ = priced(Rates(input=rate_in, output=rate_out), usage)
    exact = usage.input_tokens * rate_in + usage.output_tokens * rate_out
    assert cost is not None
    assert abs(cost * 1_000 - exact) <= 4 * 500


@settings(deadline=None, max_examples=25)
@given(st.lists(usages(), min_size=1, max_size=15))
def test_counters_rows_and_budget_say_the_same(used: list[Usage]) -> None:
    """Grafana and the ledger cannot disagree: both come from the closed event."""
    registry = CollectorRegistry()
    observer = Observer(Instruments(registry))
    with TemporaryDirectory() as folder, books(Path(folder)) as made:
        made.ledger.observe = observer.observe
        made.budget(10**18)
        for usage in used:
            entry = made.open(chat(), SUPPORT, decided(), facts())
            entry.start(DIRECT)
            entry.close(Closing("ok", 200, usage=usage))
        finals = [record.event for record in made.records() if isinstance(record, Final)]
        rows = sum(event.cost_nano_usd or 0 for event in finals)
        assert made.money()[1] == rows
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    usd = sum(sample.value for sample in samples if sample.name == "gateway_cost_usd_total")
    tokens = sum(sample.value for sample in samples if sample.name == "gateway_tokens_total")
    assert round(usd * NANO_PER_USD) == rows
    assert tokens == sum(usage.input_tokens + usage.output_tokens for usage in used)
