"""From the journal to the database: in batches, at least once, with the effect of exactly once."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from gateway.core.event import UsageEvent
from gateway.ledger.entry import Ledger
from gateway.ledger.leases.store import LeaseStore
from gateway.ledger.records import DecisionRecord, Final, Grounded, Intent, Void, read_frames
from gateway.ledger.recovery import Leftover, leftovers, resolved
from gateway.ledger.store import LedgerStore

TICK_SECONDS = 0.2
# Rows handed to the database at once: larger batches cost less, smaller ones stall the loop for less.
BATCH_BYTES = 256 * 1024
LONGEST_PAUSE = 5.0
RECOVERED_AT_ONCE = 2000
# How often journals of processes that died meanwhile (another worker) are looked for.
LOOK_SECONDS = 2.0

log = logging.getLogger("gateway.ledger")


class Shipper:
    """Ships what this process writes, and what dead ones left. One task, ended by `stop`.

    leases: where budgets are shared; a process whose rows are all shipped gives back what it held of them.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: LedgerStore,
        observe: Callable[[UsageEvent], None],
        leases: LeaseStore | None = None,
    ) -> None:
        self._ledger = ledger
        self._journal = ledger.journal
        self._store = store
        self._observe = observe
        self._leases = leases
        self._number = 0
        self._offset = 0
        self._shipped = 0
        self._retired = 0
        self._next_look = 0.0
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failing_since: float | None = None

    @property
    def _keeps_intents(self) -> bool:
        return self._journal.durability == "database"

    @property
    def pending_events(self) -> int:
        """Closed attempts of this process that are not in the database yet."""
        return self._journal.finished - self._shipped

    async def recover(self) -> int:
        """Books what dead processes left; gives how many orphan intents were resolved.

        Raises the database's error when it is away: the files stay for another try.
        """
        orphans = 0
        for leftover in leftovers(self._journal.folder, self._journal.process, self._ledger.prices):
            try:
                await self._book(leftover)
            except BaseException:
                leftover.keep()
                raise
            orphans += len(leftover.orphans)
            leftover.remove()
        return orphans

    async def _book(self, leftover: Leftover) -> None:
        events = [*leftover.finals, *leftover.orphans]
        for start in range(0, max(1, len(events)), RECOVERED_AT_ONCE):
            await self._store.ship(
                events[start : start + RECOVERED_AT_ONCE],
                leftover.decisions if not start else (),
                {},
                replica=leftover.process,
                grounded=leftover.grounded if not start else (),
                ended=leftover.ended if self._keeps_intents and start + RECOVERED_AT_ONCE >= len(events) else (),
            )
        await self._store.forget([segment.name for segment in leftover.segments])
        if self._leases is not None:
            await self._leases.close(leftover.process)
        # The dead process counted its finals in its own metrics; the orphans nobody has counted.
        for event in leftover.orphans:
            self._observe(event)
        if leftover.unreadable:
            fields = {"records": leftover.unreadable, "kept_as": "*.unreadable"}
            log.error("journal_unreadable", extra={"fields": fields})
        if events:
            log.info(
                "journal_recovered",
                extra={"fields": {"events": len(events), "orphans": len(leftover.orphans)}},
            )

    def start(self) -> None:
        """Begins to ship in the background."""
        self._task = asyncio.create_task(self._run(), name="shipper")

    async def stop(self) -> None:
        """Ships what is left, once, and ends the task."""
        self._closing.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        pause = TICK_SECONDS
        while True:
            closing = self._closing.is_set()
            try:
                self._journal.heal()
                await self.ship_all()
                await self._look_for_leftovers(closing=closing)
                pause, self.failing_since = TICK_SECONDS, None
            except (SQLAlchemyError, OSError) as fault:
                # The journal keeps everything; the database may be away as long as the disk has room.
                self.failing_since = self.failing_since or self._ledger.clock.monotonic()
                pause = min(pause * 2, LONGEST_PAUSE)
                log.warning("shipping_failed", extra={"fields": {"error": type(fault).__name__, "retry_in": pause}})
            if closing:
                await self._give_back()
                return
            try:
                await asyncio.wait_for(self._closing.wait(), pause)
            except TimeoutError:
                continue

    async def _give_back(self) -> None:
        if self._leases is None or self.failing_since is not None or self.pending_events:
            return
        try:
            await self._leases.close(self._journal.process)
        except (SQLAlchemyError, OSError) as fault:
            log.warning("leases_not_given_back", extra={"fields": {"error": type(fault).__name__}})

    async def _look_for_leftovers(self, *, closing: bool) -> None:
        now = self._ledger.clock.monotonic()
        if not closing and now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            await self.recover()
            if self._leases is not None and self._keeps_intents:
                await self._resolve_intents(self._leases)

    async def _resolve_intents(self, leases: LeaseStore) -> None:
        """Books the intents that processes left whose machine, and journal with it, is gone."""
        for event_id, replica, record in await leases.orphans():
            intent = next((found for found, _ in read_frames(record)), None)
            if not isinstance(intent, Intent):
                continue
            event = resolved(intent.event, 0, self._ledger.prices)
            decisions = [intent.decision] if intent.decision is not None else []
            grounded = [Grounded(event, intent.grounds)] if intent.grounds is not None else []
            await self._store.ship([event], decisions, {}, replica=replica, ended=[event_id], grounded=grounded)
            self._observe(event)

    async def ship_all(self) -> None:
        """Ships everything written up to now."""
        while await self._ship_batch():
            pass
        self._retire()

    async def _ship_batch(self) -> bool:
        path = self._journal.path(self._number)
        data = _read(path, self._offset, BATCH_BYTES)
        events: list[UsageEvent] = []
        decisions: list[DecisionRecord] = []
        ended: list[str] = []
        grounded: list[Grounded] = []
        end = 0
        for record, after in read_frames(data):
            end = after
            if isinstance(record, (Intent, Final)):
                if isinstance(record, Final):
                    events.append(record.event)
                    grounded += [record.grounded] if record.grounded is not None else []
                if record.decision is not None:
                    decisions.append(record.decision)
            elif isinstance(record, Void):
                ended.append(record.event_id)
        if not end:
            if self._number < self._journal.number:
                self._number, self._offset = self._number + 1, 0
                return True
            return False
        offset = self._offset + end
        if events or decisions or ended:
            ended = [*ended, *(event.id for event in events)] if self._keeps_intents else []
            process = self._journal.process
            await self._store.ship(
                events, decisions, {path.name: offset}, replica=process, ended=ended, grounded=grounded
            )
            self._settle(events)
            self._shipped += len(events)
        self._offset = offset
        return True

    def _settle(self, events: list[UsageEvent]) -> None:
        costs: dict[str, int] = {}
        for event in events:
            for pool in event.pools:
                costs[pool] = costs.get(pool, 0) + (event.cost_nano_usd or 0)
        if costs:
            self._ledger.budgets.shipped(costs)

    def _retire(self) -> None:
        # In order: an end that went before its intent would make an orphan of a call that is long in the books.
        while self._retired < self._number and self._journal.settled(self._retired):
            self._journal.path(self._retired).unlink(missing_ok=True)
            self._retired += 1


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        data = os.pread(handle, size, offset)
        # A record longer than a batch is read alone, whole.
        return data if len(data) < size or next(read_frames(data), None) else os.pread(handle, size * 20, offset)
    finally:
        os.close(handle)
