"""Parts of limits moved between replicas: surplus goes into a pot, and who is short takes out of it."""

import logging
from collections.abc import Mapping
from typing import Protocol

from gateway.core.clock import Clock
from gateway.core.values import Value
from gateway.ledger.leases.limits import Bucket, Limits

# Who has not been called for this long has a surplus: all that is above this share of its part.
IDLE_SECONDS = 1.0
KEPT_SHARE = 0.5
# Who has less than this share of its part is short.
SHORT_SHARE = 0.25
# After the pot failed, it is left alone for this long.
REST_SECONDS = 2.0

log = logging.getLogger("gateway.ledger")


class Move(Value, frozen=True):
    """What a replica puts in and would like to take out. most: as much as the pot may hold, the whole limit."""

    give: float
    want: float
    most: float


class MovesParts(Protocol):
    """A pot, see `leases.pot`."""

    async def move(self, moves: Mapping[str, Move]) -> dict[str, float]:
        """Puts in and takes out. Raises OSError when it is away."""
        ...


class Borrower:
    """Moves this process's parts. One pass is one round trip, and none when there is nothing to move."""

    def __init__(self, limits: Limits, pot: MovesParts, clock: Clock) -> None:
        self._limits = limits
        self._pot = pot
        self._clock = clock
        self._rests_until = 0.0

    async def pass_once(self) -> None:
        """Gives what is left over and takes what is short. A pot that is away costs nothing but the moving."""
        now = self._clock.monotonic()
        if now < self._rests_until:
            return
        buckets: dict[str, Bucket] = {}
        moves: dict[str, Move] = {}
        for name, bucket, whole in self._limits.buckets():
            move = _move(bucket, whole, now)
            if move is not None:
                buckets[name], moves[name] = bucket, move
                # Before anything is awaited: what is given must not be used meanwhile.
                bucket.left -= move.give
        if not moves:
            return
        try:
            for name, got in (await self._pot.move(moves)).items():
                buckets[name].left += got
        except (OSError, TimeoutError) as fault:
            # What was on its way may be lost: too little, never too much.
            self._rests_until = now + REST_SECONDS
            log.warning("limits_not_moved", extra={"fields": {"error": type(fault).__name__}})


def _move(bucket: Bucket, whole: int, now: float) -> Move | None:
    bucket.has(0, now)
    if now - bucket.used_at > IDLE_SECONDS:
        surplus = bucket.left - bucket.size * KEPT_SHARE
        return Move(surplus, 0.0, whole) if surplus > 0 else None
    if bucket.left < bucket.size * SHORT_SHARE:
        return Move(0.0, bucket.size - bucket.left, whole)
    return None
