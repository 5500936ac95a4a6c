"""Keeps this process's part of every budget ahead of need, and gives back what others need more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from gateway.core.clock import Clock
from gateway.core.errors import BudgetUnverifiable
from gateway.ledger.leases.meters import Budgets, Meter
from gateway.ledger.leases.store import Granted, Request, Seen

# How long a call waits for others to give back, or for a database that hangs.
WAIT_SECONDS = 2.0
PAUSE_SECONDS = 0.05
# After the database failed, calls that need more than is leased are told so at once for this long.
AWAY_SECONDS = 1.0
AT_ONCE = 100
# A grant that has less than this part of what is left is filled up before a call has to wait for it.
LOW = 32

log = logging.getLogger("gateway.ledger")
Tell = Callable[[Any, Meter, int, int], Awaitable[None]]


class Pools(Protocol):
    """Where pools are kept: `LeaseStore`, or a stand-in that passes the same contract."""

    async def exchange(self, replica: str, requests: Sequence[Request]) -> list[Granted]:
        """Takes from pools, or gives back."""
        ...

    async def look(self, replica: str, pools: Sequence[str]) -> list[Seen]:
        """How pools stand."""
        ...

    async def wanted(self, replica: str) -> list[str]:
        """The pools that others want more of."""
        ...

    async def told(self, pool: str, percent: int, tell: Callable[[Any], Awaitable[None]]) -> bool:
        """Says once that a pool has passed a threshold."""
        ...


class Lender:
    """Grants of one process. trouble: what the store raises when it is away. tell: adds a threshold's message."""

    def __init__(
        self,
        budgets: Budgets,
        pools: Pools,
        replica: str,
        clock: Clock,
        trouble: tuple[type[Exception], ...] = (OSError,),
        tell: Tell | None = None,
    ) -> None:
        self.budgets = budgets
        self._pools = pools
        self._replica = replica
        self._clock = clock
        self._trouble: tuple[type[Exception], ...] = (*trouble, TimeoutError)
        self._tell = tell
        self._away_until = 0.0

    async def reserve(self, meters: tuple[Meter, ...], nano_usd: int) -> None:
        """Sets this much aside in all meters, asking the database where this process's part is used up.

        Raises BudgetExceeded (429) when a budget has no room for it, and BudgetUnverifiable (503) when the database
        cannot be asked or others do not answer: that is no word about the budget.
        """
        began = self._clock.monotonic()
        while (meter := self.budgets.reserve(meters, nano_usd)) is not None:
            meter.hopes += nano_usd
            try:
                # One of a process asks for all that wait; the others take what comes, or its answer.
                async with asyncio.timeout(WAIT_SECONDS + PAUSE_SECONDS), meter.turn:
                    if meter.lacks(nano_usd):
                        await self._negotiate(meter, nano_usd, began)
            except TimeoutError:
                raise _unverifiable(meter) from None
            finally:
                meter.hopes -= nano_usd

    async def _negotiate(self, meter: Meter, nano_usd: int, began: float) -> None:
        """Returns when the meter has room for this much more, or counts only."""
        asked = 0
        while True:
            if meter.is_refused(nano_usd, began):
                raise meter.exceeded()
            async with meter.lock:
                found = await self._asked(_request(meter, nano_usd, asked=asked), meter)
            if found is None:
                if meter.rule.is_hard:
                    raise _unverifiable(meter)
                # A budget that only counts holds nobody up.
                meter.is_known = True
                return
            if not meter.lacks(nano_usd):
                return
            if meter.is_over(nano_usd) or not found.waits:
                meter.refuse(nano_usd, self._clock.monotonic())
                raise meter.exceeded()
            if self._clock.monotonic() >= began + WAIT_SECONDS:
                raise _unverifiable(meter)
            asked = found.asked
            await asyncio.sleep(PAUSE_SECONDS)

    async def _asked(self, request: Request, meter: Meter) -> Granted | None:
        """What the database grants; None when it cannot be asked."""
        if self._clock.monotonic() < self._away_until:
            return None
        try:
            (found,) = await self._exchanged([request])
        except self._trouble as fault:
            log.warning("budget_unverifiable", extra={"fields": {"pool": meter.pool, "error": type(fault).__name__}})
            return None
        _take(meter, found, request)
        return found

    async def _exchanged(self, requests: Sequence[Request]) -> list[Granted]:
        """What the database says, within the time that a call may wait: whoever asks holds the meters' locks."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await self._pools.exchange(self._replica, requests)
        except self._trouble:
            self._away_until = self._clock.monotonic() + AWAY_SECONDS
            raise

    async def fill(self) -> None:
        """Takes ahead what is known and low; in batches, each a transaction."""
        # Makes those that have not been there yet, and those of a period that has begun.
        self.budgets.all_current(self._clock.wall())
        low = [meter for meter in self.budgets if meter.touched and _is_low(meter)]
        for start in range(0, len(low), AT_ONCE):
            await self._fill(low[start : start + AT_ONCE])

    async def _fill(self, meters: list[Meter]) -> None:
        # Whoever waits for a grant of its own holds its lock, and needs no other.
        free = [meter for meter in meters if not meter.lock.locked()]
        for meter in free:
            await meter.lock.acquire()
        try:
            requests = [_request(meter, 0) for meter in free]
            found = await self._exchanged(requests)
            for meter, granted, request in zip(free, found, requests, strict=True):
                _take(meter, granted, request)
                # What could not be filled up is asked for again when a call needs it, and not before.
                meter.touched = False
        finally:
            for meter in free:
                meter.lock.release()

    async def give_back(self) -> None:
        """Gives back what others want and no call here needs; asks nobody when this process holds nothing."""
        if not any(meter.granted > meter.shipped for meter in self.budgets):
            return
        wanted = set(await self._pools.wanted(self._replica))
        for meter in [meter for meter in self.budgets if meter.pool in wanted]:
            async with meter.lock:
                # Before anything is awaited: a call that comes meanwhile must not spend what is being given back.
                meter.granted = meter.owed
                request = _request(meter, None, gives_back=True)
                (found,) = await self._exchanged([request])
                _take(meter, found, request)

    def forget_grants(self) -> None:
        """Keeps only what is owed: the process was taken for dead, and its grants went to others."""
        for meter in self.budgets:
            meter.granted = meter.owed
            meter.touched = True

    async def look(self) -> None:
        """Learns what others have spent, and tells the thresholds that are passed."""
        meters = {meter.pool: meter for meter in self.budgets if meter.is_known}
        if not meters:
            return
        for seen in await self._pools.look(self._replica, sorted(meters)):
            meter = meters[seen.pool]
            meter.elsewhere = seen.spent - seen.shipped
            limit = meter.rule.limit_nano_usd
            for percent in meter.rule.thresholds:
                if seen.spent * 100 >= limit * percent and percent not in meter.said:
                    await self._say(meter, percent, seen.spent)

    async def _say(self, meter: Meter, percent: int, spent: int) -> None:
        async def add(session: Any) -> None:
            if self._tell is not None:
                await self._tell(session, meter, percent, spent)

        if await self._pools.told(meter.pool, percent, add):
            fields = {"pool": meter.pool, "percent": percent}
            log.warning("budget_threshold_passed", extra={"fields": fields})
        meter.said.add(percent)


def _is_low(meter: Meter) -> bool:
    if not meter.is_known:
        return True
    if not meter.rule.is_hard or not meter.touched:
        return False
    return meter.granted - meter.owed < (meter.rule.limit_nano_usd - meter.spent) // LOW


def _request(meter: Meter, want: int | None, *, asked: int = 0, gives_back: bool = False) -> Request:
    period = meter.period
    return Request(
        rule=meter.rule,
        pool=meter.pool,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
        owed=meter.owed,
        want=want,
        # What is taken ahead of need is nobody's loss.
        asks=bool(want),
        asked=asked,
        hopes=meter.hopes if want else 0,
        gives_back=gives_back or meter.resets,
        is_fresh=not meter.is_known,
    )


def _take(meter: Meter, found: Granted, request: Request) -> None:
    # The budget may have changed while the database was asked.
    if request.gives_back or not meter.resets:
        meter.granted = found.granted
    meter.resets = meter.resets and not (request.gives_back and request.rule == meter.rule)
    meter.elsewhere = found.spent - found.shipped
    meter.is_known = True


def _unverifiable(meter: Meter) -> BudgetUnverifiable:
    return BudgetUnverifiable(
        f"The budget of {meter.rule.scope} {meter.rule.name!r} cannot be checked at the moment: this process's part of "
        "it is in use, and the rest cannot be asked for.",
        retry_after_seconds=1,
    )
