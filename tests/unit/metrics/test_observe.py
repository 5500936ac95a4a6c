import pytest
from prometheus_client import CollectorRegistry

from gateway.core.usage import Usage
from gateway.metrics.instruments import Instruments
from gateway.metrics.observe import MAX_MODELS, Observer
from tests.fakes.calls import closed


class Meter:
    """An observer and the registry that it counts in."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.observer = Observer(Instruments(self.registry))

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series of a counter that have these labels."""
        return sum(
            sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def values(self, name: str, label: str) -> set[str]:
        return {
            sample.labels[label]
            for metric in self.registry.collect()
            for sample in metric.samples
            if sample.name == name
        }


@pytest.fixture
def meter() -> Meter:
    return Meter()


def test_tokens_and_cost_are_counted_by_kind(meter: Meter) -> None:
    usage = Usage(10, 5, cached_tokens=4, reasoning_tokens=2)
    kinds = (("input", 600), ("cached", 40), ("output", 300), ("reasoning", 60))
    meter.observer.observe(closed(usage=usage, cost_by_kind=kinds, cost_nano_usd=1_000))
    counted = {kind: meter.total("gateway_tokens_total", kind=kind) for kind, _ in kinds}
    assert counted == {"input": 6, "cached": 4, "output": 3, "reasoning": 2}
    assert meter.total("gateway_cost_usd_total") == pytest.approx(1_000 / 1e9)
    assert meter.total("gateway_cost_usd_total", kind="cached") == pytest.approx(40 / 1e9)


def test_a_call_is_counted_once_and_each_attempt_pays(meter: Meter) -> None:
    meter.observer.observe(closed(last=False, outcome="upstream_error", status=503, error="upstream_failed"))
    meter.observer.observe(closed(attempt=2))
    assert meter.total("gateway_requests_total") == 1
    assert meter.total("gateway_tokens_total") == 30
    assert meter.total("gateway_policy_decisions_total", rule="a-rule", path="direct") == 1


def test_what_was_refused_here_costs_nothing_and_is_counted(meter: Meter) -> None:
    meter.observer.observe(
        closed(attempt=0, outcome="refused", status=429, error="insufficient_quota", usage=None, cost_nano_usd=0)
    )
    assert meter.total("gateway_requests_total", status_class="4xx", error_type="insufficient_quota") == 1
    assert meter.total("gateway_tokens_total") == 0
    assert meter.total("gateway_overhead_seconds_count") == 0, "no upstream was asked"


def test_unknown_prices_and_usages_are_counted_and_never_zero(meter: Meter) -> None:
    estimated = Usage(10, 5, source="estimated")
    meter.observer.observe(closed(usage=estimated, cost_nano_usd=None, cost_by_kind=(), cost_status="unpriced"))
    meter.observer.observe(closed(usage=None, cost_nano_usd=None, cost_by_kind=(), cost_status="unpriced"))
    assert meter.total("gateway_unpriced_total", model="gpt-4.1-mini") == 2
    assert meter.total("gateway_usage_missing_total", reason="ok") == 1
    assert meter.total("gateway_usage_missing_total", reason="unreported") == 1
    assert meter.total("gateway_cost_usd_total") == 0


def test_names_that_callers_invent_make_no_series_without_end(meter: Meter) -> None:
    """A series costs memory for ever; 10,000 invented names must cost that of 200."""
    for number in range(1_000):
        meter.observer.observe(closed(model=f"invented-{number}"))
        meter.observer.observe(closed(model=f"refused-{number}", outcome="refused", status=404, usage=None))
    models = meter.values("gateway_requests_total", "model")
    assert len(models) == MAX_MODELS + 1
    assert "other" in models
    assert not any(model.startswith("refused-") for model in models)
    assert meter.total("gateway_requests_total") == 2_000


def test_models_of_the_policy_always_have_their_own_series(meter: Meter) -> None:
    meter.observer.know(frozenset({"house"}))
    for number in range(MAX_MODELS + 10):
        meter.observer.model_label(f"invented-{number}")
    assert meter.observer.model_label("house") == "house"
    assert meter.observer.model_label("m" * 129) == "other"


def test_an_embedded_question_is_retrieval_and_no_call(meter: Meter) -> None:
    event = closed(
        endpoint="retrieval", last=False, usage=Usage(7, 0), cost_by_kind=(("retrieval", 140),), cost_nano_usd=140
    )
    meter.observer.observe(event)
    assert meter.total("gateway_tokens_total", kind="retrieval") == meter.total("gateway_tokens_total") == 7
    assert meter.total("gateway_requests_total") == 0


def test_first_token_is_a_matter_of_streams(meter: Meter) -> None:
    meter.observer.observe(closed(stream=True, first_byte_seconds=0.2))
    meter.observer.observe(closed(stream=False, first_byte_seconds=0.2))
    assert meter.total("gateway_time_to_first_token_seconds_count") == 1


def test_overhead_is_never_negative(meter: Meter) -> None:
    """Two clocks read one after the other may cross."""
    meter.observer.observe(closed(seconds=0.1, upstream_seconds=0.2))
    assert meter.total("gateway_overhead_seconds_sum") == 0
