"""What Prometheus is told beside closed events: the policy in force, look-ups, and how things stand at a scrape."""

from collections.abc import Mapping

from gateway.live import Loaded, shutdowns
from gateway.metrics.instruments import Instruments
from gateway.metrics.observe import Observer
from gateway.policy.models_file import LineEntry


class Gauges:
    """The instruments of one process that no event of a call updates."""

    def __init__(self, instruments: Instruments, observer: Observer) -> None:
        self._on = instruments
        self._observer = observer
        self._hashes: set[str] = set()
        self._weighed: set[tuple[str, str]] = set()

    def announce(self, loaded: Loaded) -> None:
        """These policy files are in force now."""
        on, models = self._on, loaded.rulebook.models
        on.reloads.labels("ok").inc()
        # Set to 0 and not cleared: with several workers a series that is dropped here lives on in the others' files.
        for known in self._hashes - {loaded.texts.hash}:
            on.policy.labels(known).set(0)
        self._hashes.add(loaded.texts.hash)
        on.policy.labels(loaded.texts.hash).set(1)
        tuned = {version.id for line in models.lines.values() for version in line.versions}
        ids = {entry.id or name for name, entry in models.models.items()}
        self._observer.know(frozenset(tuned | ids - {"*"}))
        for line, moment in shutdowns(loaded).items():
            on.shutdown.labels(line).set(moment)
        self._weigh(models.lines)

    def _weigh(self, lines: Mapping[str, LineEntry]) -> None:
        """Who answers for each line. A version that answers no more stands at 0, for the reason above."""
        weights = dict.fromkeys(self._weighed, 0.0)
        for name, line in lines.items():
            share = line.canary if line.challenger not in {None, line.champion} else 0.0
            weights[name, str(line.champion)] = 1.0 - share
            if share:
                weights[name, str(line.challenger)] = share
        for (name, version), weight in weights.items():
            self._on.weight.labels(name, version).set(weight)
        self._weighed = set(weights)

    def rejected(self) -> None:
        """An edit of the policy files was not taken over."""
        self._on.reloads.labels("rejected").inc()

    def refresh(
        self,
        used: Mapping[str, float],
        states: Mapping[str, int],
        passed: Mapping[str, float],
        pending: int,
        in_flight: int,
        now: float,
    ) -> None:
        """How things stand. used: shares of budgets by team; passed: when each source was last passed over."""
        on = self._on
        for team, share in used.items():
            on.budget.labels(team).set(share)
        for upstream, state in states.items():
            on.breaker.labels(upstream).set(state)
        for source, moment in passed.items():
            on.freshness.labels(source).set(max(0.0, now - moment))
        on.pending.set(pending)
        on.in_flight.set(in_flight)
