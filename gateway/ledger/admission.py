"""What a call has taken before it was decided: its place under the limits, and the budgets it is charged to."""

from gateway.ledger.leases.limits import Gate, Limits
from gateway.ledger.leases.meters import Meter


class Admission:
    """One call's place. `leave` gives it back, once. used_ratio: of the fullest hard budget, None without one."""

    __slots__ = ("_gates", "_left", "_limits", "meters", "pools", "taken_tokens", "used_ratio")

    def __init__(
        self,
        limits: Limits | None = None,
        gates: tuple[Gate, ...] = (),
        meters: tuple[Meter, ...] = (),
        taken_tokens: int = 0,
        used_ratio: float | None = None,
    ) -> None:
        self._limits = limits
        self._gates = gates
        self._left = not gates
        self.meters = meters
        self.pools = tuple([meter.pool for meter in meters]) if meters else ()
        self.taken_tokens = taken_tokens
        self.used_ratio = used_ratio

    def leave(self, used_tokens: int) -> None:
        """The call is over, with this many tokens."""
        if not self._left and self._limits is not None:
            self._left = True
            self._limits.leave(self._gates, self.taken_tokens, used_tokens)


NOTHING = Admission()
