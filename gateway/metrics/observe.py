"""From a closed event to the instruments: the only way in for anything that is also in the books."""

from collections.abc import Callable
from typing import Any

from gateway.core.event import UsageEvent
from gateway.core.grounds import Grounds
from gateway.core.money import NANO_PER_USD
from gateway.metrics.instruments import Instruments

OTHER = "other"
RETRIEVAL = "retrieval"
# Rows with one kind of tokens, by their endpoint.
ONE_KIND = {RETRIEVAL: RETRIEVAL, "ingest": RETRIEVAL, "rerank": RETRIEVAL, "training": "training"}
JUDGE = "judge"
SHADOW = "shadow"
# A series costs 0.7 kB, a histogram's 4.7 kB: model names that callers invent may not make them without end.
MAX_MODELS = 200
CLASSES = {1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}


class Observer:
    """Holds the children of the label sets it has seen: `.labels()` costs more than the update itself."""

    def __init__(self, instruments: Instruments) -> None:
        self._on = instruments
        self._known_models: frozenset[str] = frozenset()
        self._seen: set[str] = set()
        self._requests: dict[tuple[str, str, str, str, str], Any] = {}
        self._tokens: dict[tuple[str, str, str, str], Any] = {}
        self._costs: dict[tuple[str, str, str, str], Any] = {}
        self._paths: dict[str, tuple[Any, Any, Any]] = {}
        self._decisions: dict[tuple[str, str], Any] = {}
        # By call id, who else is told of each event of a call.
        self.watching: dict[str, Callable[[UsageEvent], None]] = {}

    def know(self, models: frozenset[str]) -> None:
        """Names of models that policy defines; they always have a series of their own."""
        self._known_models = models

    def model_label(self, model: str) -> str:
        """The model, or `other` for one name too many."""
        if model in self._known_models or model in self._seen:
            return model
        if len(self._seen) >= MAX_MODELS or len(model) > 128:
            return OTHER
        self._seen.add(model)
        return model

    def observe(self, event: UsageEvent) -> None:
        """Counts one closed event."""
        on = self._on
        # A model that no upstream has ever answered for is a caller's invention.
        model = self.model_label(event.model) if event.outcome == "ok" or event.usage else self._refused_label(event)
        if event.usage is not None:
            self._count_tokens(event, model)
            if event.usage.source == "estimated":
                on.missing.labels(event.outcome).inc()
            if event.cost_status == "unpriced":
                on.unpriced.labels(model).inc()
        elif event.cost_status == "unpriced":
            on.missing.labels("unreported").inc()
            on.unpriced.labels(model).inc()
        if event.last:
            self._count_call(event, model)
        if self.watching and event.call_id in self.watching:
            self.watching[event.call_id](event)

    def succeeded(self, line: str) -> None:
        """Counts a call in whose line's place its successor is asked."""
        self._on.successions.labels(line).inc()

    def rolled_back(self, line: str) -> None:
        """Counts a canary that was taken back."""
        self._on.canary_rollbacks.labels(line).inc()

    def grounded(self, event: UsageEvent, grounds: Grounds) -> None:
        """Counts what a closed attempt's answer stood on."""
        on = self._on
        if grounds.gap is not None and event.last:
            on.gaps.labels(grounds.gap.kind, grounds.gap.outcome).inc()
        if grounds.support is not None and grounds.support.score is not None:
            on.support.observe(grounds.support.score)
        if grounds.unknown_citations:
            on.unknown_citations.labels(event.rule).inc(grounds.unknown_citations)

    def tried(self, upstream: str, outcome: str) -> None:
        """Counts a try at an upstream."""
        self._on.attempts.labels(upstream, outcome).inc()

    def copied(self, rule: str, result: str) -> None:
        """Counts a copy that was due."""
        self._on.shadows.labels(rule, result).inc()

    def judged(self, rule: str, result: str, score: float | None) -> None:
        """Counts a judgement that was due, and what was judged."""
        self._on.judgements.labels(rule, result).inc()
        if score is not None:
            self._on.judged.observe(score)

    def captured(self, team: str, result: str) -> None:
        """Counts a call that was to be kept for training, and what became of it."""
        self._on.captured.labels(team, result).inc()

    def told(self, team: str, sentiment: str) -> None:
        """Counts what a team said of an answer."""
        self._on.feedback.labels(team, sentiment).inc()

    def retrieved(self, collections: tuple[str, ...], result: str, seconds: float) -> None:
        """Counts a search."""
        self._on.retrieval.observe(seconds)
        for collection in collections:
            self._on.results.labels(collection, result).inc()

    def _refused_label(self, event: UsageEvent) -> str:
        known = event.model in self._known_models or event.model in self._seen
        return event.model if known else OTHER

    def _count_tokens(self, event: UsageEvent, model: str) -> None:
        usage = event.usage
        if usage is None:
            return
        costs = dict(event.cost_by_kind)
        one = ONE_KIND.get(event.endpoint)
        kinds: tuple[tuple[str, int], ...] = usage.by_kind() if one is None else ((one, usage.input_tokens),)
        if event.context_tokens and one is None:
            # The sources' tokens are a part of the input, and counted apart from it.
            (first, plain), *rest = kinds
            kinds = ((first, plain - event.context_tokens), *rest, (RETRIEVAL, event.context_tokens))
        for kind, tokens in kinds:
            nano = costs.get(kind, 0)
            if not tokens and not nano:
                continue
            key = (event.team, event.path, model, kind)
            counted = self._tokens.get(key)
            if counted is None:
                counted = self._tokens[key] = self._on.tokens.labels(*key)
            counted.inc(tokens)
            # A series that stands at 0 would say that an unpriced model is free.
            if nano:
                spent = self._costs.get(key)
                if spent is None:
                    spent = self._costs[key] = self._on.cost.labels(*key)
                spent.inc(nano / NANO_PER_USD)

    def _count_call(self, event: UsageEvent, model: str) -> None:
        error = event.error or "none"
        status = CLASSES.get(event.status // 100, "none")
        key = (event.team, event.path, model, status, error)
        child = self._requests.get(key)
        if child is None:
            child = self._requests[key] = self._on.requests.labels(*key)
        child.inc()
        if event.endpoint in {SHADOW, JUDGE}:
            # A copy decides nothing, and nobody waited for it.
            return
        if event.rule:
            at = (event.rule, event.path)
            decided = self._decisions.get(at)
            if decided is None:
                decided = self._decisions[at] = self._on.decisions.labels(*at)
            decided.inc()
        times = self._paths.get(event.path)
        if times is None:
            path = event.path
            times = self._paths[path] = (
                self._on.duration.labels(path),
                self._on.first_token.labels(path),
                self._on.overhead.labels(path),
            )
        times[0].observe(event.seconds)
        if event.stream and event.first_byte_seconds is not None:
            times[1].observe(event.first_byte_seconds)
        if event.attempt:
            times[2].observe(max(0.0, event.seconds - event.upstream_seconds))
