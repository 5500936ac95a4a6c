"""How many retries an upstream gets: when it fails for everybody, retries would only add to its load."""

from collections.abc import Callable

from gateway.upstream.breaker import Window

# In the window, however few calls there are: else a quiet upstream's first failure could not be tried again.
FLOOR = 10


class RetryBudget:
    """Second and later tries at one upstream may add at most `share` (0 to 1) of its calls, and FLOOR at least.

    calls: counts a call as `add(1, 0)` and a retry as marked. A share of 0 allows none.
    """

    __slots__ = ("calls", "share")

    def __init__(self, share: float, monotonic: Callable[[], float]) -> None:
        self.share = share
        self.calls = Window(monotonic)

    def takes(self) -> bool:
        """Whether one more retry is within the budget; it is counted if so."""
        calls, retries = self.calls.sums()
        if not self.share or retries >= max(FLOOR, int(self.share * calls)):
            return False
        self.calls.add(0, 1)
        return True
