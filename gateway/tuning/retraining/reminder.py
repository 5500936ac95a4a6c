"""A word to whoever waits for a gateway that does not run."""

from collections.abc import Callable

from gateway.core.clock import Clock
from gateway.tuning.retraining.values import Step

# A job is looked at every 30 seconds or oftener; nothing for longer means that no gateway serves from this database.
LEFT_SECONDS = 45.0
LEFT = (
    f"nothing has moved for {LEFT_SECONDS:.0f} seconds; training and evaluating are done by a running gateway "
    "(gateway serve)"
)


class Reminder:
    """Says once that nobody seems to do what is waited for."""

    def __init__(self, told: Callable[[str, str], None], clock: Clock) -> None:
        self._told, self._clock = told, clock
        self._moves: int | None = None
        self._since = clock.monotonic()

    def look(self, step: Step, *, moves: int) -> None:
        """Looks once more. moves: a count that grows while somebody works."""
        now = self._clock.monotonic()
        if moves != self._moves:
            self._moves, self._since = moves, now
        elif now - self._since > LEFT_SECONDS:
            self._told(step, LEFT)
            self._since = float("inf")
