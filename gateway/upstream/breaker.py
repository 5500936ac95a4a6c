"""A breaker per target: after repeated failures, nobody waits for it until a probe has got through."""

from collections.abc import Callable
from enum import IntEnum

FAILURES = 5
OPEN_SECONDS = 10.0


class State(IntEnum):
    """The values of the metric `gateway_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Opens after FAILURES in a row; after OPEN_SECONDS lets one call through; its success closes it."""

    __slots__ = ("_failures", "_monotonic", "_opened", "_probing")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._opened: float | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """As it is now."""
        if self._opened is None:
            return State.CLOSED
        waited = self._monotonic() - self._opened >= OPEN_SECONDS
        return State.HALF_OPEN if waited or self._probing else State.OPEN

    def admits(self) -> bool:
        """Whether a call may go; the one that may when half open is the probe."""
        if self._opened is None:
            return True
        if self._probing or self._monotonic() - self._opened < OPEN_SECONDS:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """The target answered."""
        self._failures = 0
        self._opened = None
        self._probing = False

    def failed(self) -> None:
        """The target did not answer, or said that it cannot."""
        self._failures += 1
        self._probing = False
        if self._failures >= FAILURES:
            self._opened = self._monotonic()

    def released(self) -> None:
        """The call ended without telling anything of the target (the caller left)."""
        self._probing = False
