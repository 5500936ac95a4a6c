"""A breaker per target: after repeated failures, nobody waits for it until a probe has got through."""

from collections.abc import Callable
from enum import IntEnum

FAILURES = 5
OPEN_SECONDS = 10.0
LONGEST_OPEN_SECONDS = 60.0
# A target that fails now and then never fails five times in a row; one that fails this often is no help either.
FAILING_SHARE = 0.5
FAILING_CALLS = 20
WINDOW_SECONDS = 10


class State(IntEnum):
    """The values of the metric `gateway_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Window:
    """Two counts over the last WINDOW_SECONDS, in steps of a second: of all, and of those that were marked."""

    __slots__ = ("_all", "_marked", "_monotonic", "_seconds")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seconds = [-1] * WINDOW_SECONDS
        self._all = [0] * WINDOW_SECONDS
        self._marked = [0] * WINDOW_SECONDS

    def add(self, count: int, marked: int) -> None:
        """Counts now."""
        second = int(self._monotonic())
        at = second % WINDOW_SECONDS
        if self._seconds[at] != second:
            self._seconds[at] = second
            self._all[at] = self._marked[at] = 0
        self._all[at] += count
        self._marked[at] += marked

    def sums(self) -> tuple[int, int]:
        """All and marked; what is older than the window does not count."""
        oldest = int(self._monotonic()) - WINDOW_SECONDS
        live = [at for at, second in enumerate(self._seconds) if second > oldest]
        return sum(self._all[at] for at in live), sum(self._marked[at] for at in live)


class Breaker:
    """Opens after FAILURES in a row, or when half of at least FAILING_CALLS in the window have failed.

    After OPEN_SECONDS it lets one call through, the probe, and no second while that lasts. Its success closes the
    breaker; its failure keeps it open twice as long as before, LONGEST_OPEN_SECONDS at most. What becomes of a
    call that was admitted before the breaker opened does not move an open one.
    """

    __slots__ = ("_failures", "_monotonic", "_open_seconds", "_opened", "_probe", "_tickets", "_window")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._opened: float | None = None
        self._open_seconds = OPEN_SECONDS
        self._tickets = 0
        self._probe = 0
        self._window = Window(monotonic)

    @property
    def state(self) -> State:
        """As it is now."""
        if self._opened is None:
            return State.CLOSED
        return State.HALF_OPEN if self._probe or not self.seconds_left else State.OPEN

    @property
    def seconds_left(self) -> float:
        """How long nobody may go yet; 0 when closed or half open."""
        if self._opened is None:
            return 0.0
        return max(0.0, self._opened + self._open_seconds - self._monotonic())

    def admits(self) -> int | None:
        """A call's ticket, for the other methods: 0 for one among many, else the number of a probe.

        None when it may not go.
        """
        if self._opened is None:
            return 0
        if self._probe or self.seconds_left:
            return None
        self._tickets += 1
        self._probe = self._tickets
        return self._probe

    def succeeded(self, ticket: int) -> None:
        """The target answered."""
        if self._opened is None:
            self._failures = 0
            self._window.add(1, 0)
        elif ticket and ticket == self._probe:
            self._failures = self._probe = 0
            self._opened = None
            self._open_seconds = OPEN_SECONDS
            # What it did before it was mended would open it again at its next failure.
            self._window = Window(self._monotonic)

    def failed(self, ticket: int) -> None:
        """The target did not answer, or said that it cannot."""
        if self._opened is None:
            self._failures += 1
            self._window.add(1, 1)
            if self._failures >= FAILURES or self._fails_often():
                self._opened = self._monotonic()
        elif ticket and ticket == self._probe:
            self._probe = 0
            self._opened = self._monotonic()
            self._open_seconds = min(2 * self._open_seconds, LONGEST_OPEN_SECONDS)

    def released(self, ticket: int) -> None:
        """The call is over. A probe that told nothing of the target (its caller left) lets the next one probe."""
        if ticket and ticket == self._probe:
            self._probe = 0

    def _fails_often(self) -> bool:
        calls, failures = self._window.sums()
        return calls >= FAILING_CALLS and failures >= FAILING_SHARE * calls
