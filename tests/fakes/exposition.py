"""A sample of what /metrics shows: every metric of the contract, with values that make every alert fire."""

import time
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Labels = tuple[dict[str, str], ...]


class Metric(NamedTuple):
    """Name as the contract has it, kind, label sets, and for each set the value (per scrape, if it counts)."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels
    values: tuple[float, ...]


def _sets(names: str, *rows: str) -> Labels:
    """Label sets written as a small table: one text of names, one text per row; `-` is an empty value."""
    return tuple(
        {name: "" if value == "-" else value for name, value in zip(names.split(), row.split(), strict=True)}
        for row in rows
    )


_WHERE = (
    "support fine_tuned ft:gpt-4o-mini-2024-07-18:acme:support:Ab12",
    "support rag gpt-4.1-mini",
    "research direct gpt-4.1",
)
_KINDS = ("input", "cached", "output", "reasoning", "retrieval", "training")
_BY_KIND = _sets("team path model kind", *(f"{where} {kind}" for where in _WHERE for kind in _KINDS))
_PATHS = _sets("path", "fine_tuned", "rag", "direct", "passthrough")
_DAY = 86_400.0

CONTRACT: tuple[Metric, ...] = (
    Metric(
        "gateway_requests_total",
        "counter",
        _sets(
            "team path model status_class error_type",
            *(f"{where} 2xx -" for where in _WHERE),
            f"{_WHERE[1]} 5xx upstream_failed",
            f"{_WHERE[2]} 4xx insufficient_quota",
        ),
        (5, 4, 3, 2, 1),
    ),
    Metric("gateway_tokens_total", "counter", _BY_KIND, (100,) * len(_BY_KIND)),
    Metric("gateway_cost_usd_total", "counter", _BY_KIND, (0.000001,) * len(_BY_KIND)),
    Metric("gateway_request_duration_seconds", "histogram", _PATHS, (0.9, 1.4, 0.7, 0.1)),
    Metric("gateway_time_to_first_token_seconds", "histogram", _PATHS, (0.3, 0.4, 0.2, 0.1)),
    Metric("gateway_overhead_seconds", "histogram", _PATHS, (0.002, 0.008, 0.001, 0.001)),
    Metric(
        "gateway_policy_decisions_total",
        "counter",
        _sets("rule path", "tone-of-support fine_tuned", "help-centre rag", "everything-else direct"),
        (5, 4, 3),
    ),
    Metric("gateway_shadows_total", "counter", _sets("rule result", "tone-of-support made"), (2,)),
    Metric(
        "gateway_captured_calls_total", "counter", _sets("team result", "support kept", "support too_large"), (5, 1)
    ),
    Metric(
        "gateway_feedback_total", "counter", _sets("team sentiment", "support positive", "support negative"), (3, 1)
    ),
    Metric("gateway_policy_reloads_total", "counter", _sets("result", "ok", "fault"), (1, 1)),
    Metric("gateway_policy_info", "gauge", _sets("hash", "0a1b2c3d"), (1,)),
    Metric("gateway_usage_missing_total", "counter", _sets("reason", "caller_left", "not_sent"), (1, 1)),
    Metric("gateway_unpriced_total", "counter", _sets("model", "other"), (1,)),
    Metric("gateway_budget_used_ratio", "gauge", _sets("team", "support", "research"), (0.85, 1.02)),
    Metric("gateway_retrieval_seconds", "histogram", ({},), (0.02,)),
    Metric(
        "gateway_retrieval_results_total",
        "counter",
        _sets("collection result", "help-centre hit", "help-centre empty", "help-centre error"),
        (5, 2, 1),
    ),
    Metric("gateway_knowledge_freshness_seconds", "gauge", _sets("source", "help-centre"), (2 * _DAY,)),
    Metric("gateway_answer_support_ratio", "histogram", ({},), (0.9,)),
    Metric("gateway_citations_unknown_total", "counter", _sets("rule", "help-centre"), (1,)),
    Metric("gateway_knowledge_gaps_total", "counter", _sets("kind outcome", "no_match abstain"), (2,)),
    Metric("gateway_judgements_total", "counter", _sets("rule result", "help-centre judged"), (1,)),
    Metric("gateway_answer_judged_ratio", "histogram", ({},), (0.9,)),
    Metric(
        "gateway_model_shutdown_timestamp_seconds",
        "gauge",
        _sets("line", "support-tone", "old-tone"),
        (time.time() + 200 * _DAY, time.time() + 10 * _DAY),
    ),
    Metric("gateway_model_line_weight", "gauge", _sets("line version", "support-tone 1", "support-tone 2"), (0.9, 0.1)),
    Metric("gateway_line_successions_total", "counter", _sets("line", "old-tone"), (3,)),
    Metric("gateway_line_rollbacks_total", "counter", _sets("line", "support-tone"), (1,)),
    Metric("gateway_journal_pending_events", "gauge", ({},), (1_500,)),
    Metric(
        "gateway_upstream_attempts_total",
        "counter",
        _sets("upstream outcome", "openai ok", "lab upstream_error"),
        (9, 2),
    ),
    Metric("gateway_breaker_state", "gauge", _sets("upstream", "openai", "lab"), (0, 2)),
    Metric("gateway_in_flight", "gauge", ({},), (3,)),
)


def sample_exposition(scrape: int) -> bytes:
    """The text of the scrape with that number, from 1: counters and histograms have grown by then."""
    registry = CollectorRegistry()
    for metric in CONTRACT:
        names = tuple(metric.labels[0])
        for labels, value, made in zip(metric.labels, metric.values, _children(metric, names, registry), strict=True):
            child = made.labels(**labels) if labels else made
            if isinstance(child, Counter):
                child.inc(value * scrape)
            elif isinstance(child, Gauge):
                child.set(value)
            else:
                for _ in range(scrape):
                    child.observe(value)
    return generate_latest(registry)


def _children(
    metric: Metric, names: tuple[str, ...], registry: CollectorRegistry
) -> tuple[Counter | Gauge | Histogram, ...]:
    """The metric itself, once for each of its label sets."""
    kinds: dict[str, type[Counter | Gauge | Histogram]] = {
        "counter": Counter,
        "gauge": Gauge,
        "histogram": Histogram,
    }
    made = kinds[metric.kind](metric.name, "A sample.", names, registry=registry)
    return (made,) * len(metric.labels)
