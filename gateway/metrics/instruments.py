"""The instruments. Label sets are closed: what a caller can invent becomes `other`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
OVERHEAD = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1)

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Instruments:
    """All of them, in one registry. Names and labels are a contract: dashboards hold on to them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        where = ("team", "path", "model")
        self.requests = Counter(
            "gateway_requests", "Calls that ended.", (*where, "status_class", "error_type"), registry=registry
        )
        self.tokens = Counter(
            "gateway_tokens",
            "Tokens of attempts, in disjoint kinds: cached is not in input, reasoning not in output.",
            (*where, "kind"),
            registry=registry,
        )
        self.cost = Counter(
            "gateway_cost_usd",
            "Cost of attempts in US dollars, by kind; unpriced ones are not in it.",
            (*where, "kind"),
            registry=registry,
        )
        self.duration = Histogram(
            "gateway_request_duration_seconds",
            "From a call's last byte in to its last byte out.",
            ("path",),
            buckets=SECONDS,
            registry=registry,
        )
        self.first_token = Histogram(
            "gateway_time_to_first_token_seconds",
            "From a call's last byte in to the first byte out, of streams.",
            ("path",),
            buckets=SECONDS,
            registry=registry,
        )
        self.overhead = Histogram(
            "gateway_overhead_seconds",
            "Time of a call that was not spent on an upstream.",
            ("path",),
            buckets=OVERHEAD,
            registry=registry,
        )
        self.decisions = Counter("gateway_policy_decisions", "Decisions.", ("rule", "path"), registry=registry)
        self.shadows = Counter(
            "gateway_shadows",
            "Copies of calls that were due, and what became of them.",
            ("rule", "result"),
            registry=registry,
        )
        self.reloads = Counter(
            "gateway_policy_reloads", "Readings of the policy files.", ("result",), registry=registry
        )
        self.policy = Gauge(
            "gateway_policy_info",
            "1 for the policy that decides now.",
            ("hash",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.missing = Counter(
            "gateway_usage_missing",
            "Attempts whose usage had to be estimated or is unknown.",
            ("reason",),
            registry=registry,
        )
        self.unpriced = Counter("gateway_unpriced", "Attempts without a price.", ("model",), registry=registry)
        self.budget = Gauge(
            "gateway_budget_used_ratio",
            "Spent and reserved share of a team's monthly budget.",
            ("team",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.retrieval = Histogram(
            "gateway_retrieval_seconds", "Retrieval for one call.", buckets=OVERHEAD, registry=registry
        )
        self.results = Counter(
            "gateway_retrieval_results",
            "Retrievals by what they found (hit, empty, error).",
            ("collection", "result"),
            registry=registry,
        )
        self.support = Histogram(
            "gateway_answer_support_ratio",
            "Share of an answer's words, by rarity, that its sources hold.",
            buckets=RATIOS,
            registry=registry,
        )
        self.unknown_citations = Counter(
            "gateway_citations_unknown",
            "Markers taken out of answers because they named no source.",
            ("rule",),
            registry=registry,
        )
        self.gaps = Counter(
            "gateway_knowledge_gaps",
            "Questions that the collections did not answer.",
            ("kind", "outcome"),
            registry=registry,
        )
        self.judgements = Counter(
            "gateway_judgements",
            "Answers that were to be judged, and what became of it.",
            ("rule", "result"),
            registry=registry,
        )
        self.judged = Histogram(
            "gateway_answer_judged_ratio",
            "What judges said of answers, from 0 (not from the sources) to 1.",
            buckets=RATIOS,
            registry=registry,
        )
        self.freshness = Gauge(
            "gateway_knowledge_freshness_seconds",
            "Age of the last completed sync of a source.",
            ("source",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.shutdown = Gauge(
            "gateway_model_shutdown_timestamp_seconds",
            "When the champion of a line is shut down, Unix time.",
            ("line",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.weight = Gauge(
            "gateway_model_line_weight",
            "Share of a line's calls that a version is to answer.",
            ("line", "version"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.successions = Counter(
            "gateway_line_successions",
            "Calls of a line that went to its successor.",
            ("line",),
            registry=registry,
        )
        self.canary_rollbacks = Counter(
            "gateway_line_rollbacks", "Canaries of a line that were taken back.", ("line",), registry=registry
        )
        self.pending = Gauge(
            "gateway_journal_pending_events",
            "Closed attempts that are not in the database yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.attempts = Counter(
            "gateway_upstream_attempts", "Tries by their outcome.", ("upstream", "outcome"), registry=registry
        )
        self.breaker = Gauge(
            "gateway_breaker_state",
            "Worst breaker of an upstream: 0 closed, 1 half open, 2 open.",
            ("upstream",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.captured = Counter(
            "gateway_captured_calls",
            "Calls of teams that opted in, by what became of them (kept, too_large, unreadable, full).",
            ("team", "result"),
            registry=registry,
        )
        self.feedback = Counter(
            "gateway_feedback", "What teams said of answers.", ("team", "sentiment"), registry=registry
        )
        self.in_flight = Gauge(
            "gateway_in_flight", "Calls being served.", registry=registry, multiprocess_mode="livesum"
        )


def fresh_instruments() -> tuple[CollectorRegistry, Instruments]:
    """A registry of its own with all instruments in it."""
    # A creation time beside every counter doubles the series, and nothing here reads it.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    registry = CollectorRegistry()
    return registry, Instruments(registry)
