"""Runs the batches of all teams in the background, each in one process at a time."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import msgspec

from gateway.batches.answers.store import AnswerStore
from gateway.batches.finishing import Finishing
from gateway.batches.here import Here
from gateway.batches.lines import MOST_BYTES, MOST_LINES, Lines, split
from gateway.batches.remote import Remote
from gateway.batches.store import BatchStore
from gateway.batches.values import Around, Batch, BatchRefused, Fault, Way
from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError
from gateway.core.ids import new_id
from gateway.db.away import told_when_away

MOST_BATCHES = 32
HOLD_SECONDS = 6.0
# Whoever makes a batch wakes the runner of its own process; this is for what a dead process left.
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 5.0
# Whoever runs a batch has a day; one that nobody can be asked about for as long again has no end to be told of.
PATIENCE_SECONDS = 86_400.0
# Between looking at lines, calls have their turn.
LINES_AT_A_TIME = 50
KEPT = "batches"
# Faults of ours that a batch is forgiven in one process.
MOST_FAILURES = 3
BROKEN = Fault("internal_error", "The batch could not be run to its end; what was answered is in its files.")

log = logging.getLogger("gateway.batches")
_principal = msgspec.json.Decoder(Principal)


class Runner:
    """One per process."""

    def __init__(self, store: BatchStore, answers: AnswerStore, around: Around, clock: Clock) -> None:
        self._store = store
        self._around = around
        self._clock = clock
        self._me = new_id("runner")
        self._finishing = Finishing(store, answers, around.files, clock, self._me)
        self._here = Here(answers, self._finishing, around, clock)
        self._remote = Remote(store, self._finishing, around, clock, self._me)
        self._woken = asyncio.Event()
        self._working: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._failures: dict[str, int] = {}

    def wake(self) -> None:
        """There is something to run, or to be cancelled."""
        self._woken.set()

    async def run(self) -> None:
        """Runs batches for ever. Raises the database's error when it is away."""
        keeping = asyncio.create_task(self._keep())
        try:
            while True:
                self._woken.clear()
                room = MOST_BATCHES - len(self._working)
                claimed = await self._store.claim(self._me, self._clock.wall(), HOLD_SECONDS, room) if room else []
                for batch in claimed:
                    self._begin(batch)
                # Not `wait_for`: in Python 3.11 it may swallow being cancelled at the moment when it is woken.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._woken.wait()
        finally:
            ending = [keeping, *(task for task, _ in self._working.values())]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            self._working.clear()
            with contextlib.suppress(GatewayError), told_when_away(KEPT):
                # A process that ends in order need not be waited for.
                await self._store.let_go(self._me)

    def _begin(self, batch: Batch) -> None:
        stop = asyncio.Event()
        if batch.status == "cancelling":
            stop.set()
        task = asyncio.create_task(self._run(batch, stop), name="batch")
        self._working[batch.id] = (task, stop)

        def ended(done: asyncio.Task[None]) -> None:
            if self._working.get(batch.id, (None,))[0] is done:
                del self._working[batch.id]
            if not done.cancelled() and done.exception() is not None:
                # Its hold ends by itself; then it is taken up again, a few times.
                self._failures[batch.id] = self._failures.get(batch.id, 0) + 1
                log.error("batch_failed", exc_info=done.exception(), extra={"fields": {"batch": batch.id}})
            self._woken.set()

        task.add_done_callback(ended)

    async def _keep(self) -> None:
        """Holds what is at work; stops what is to be cancelled, and lets go of what another process has by now."""
        while True:
            await asyncio.sleep(HOLD_SECONDS / 12)
            working = dict(self._working)
            if not working:
                continue
            try:
                with told_when_away(KEPT):
                    held = await self._store.hold(self._me, working, self._clock.wall() + HOLD_SECONDS)
            except GatewayError:
                continue
            for identity, (task, stop) in working.items():
                if held.get(identity) == "cancelling":
                    stop.set()
                elif identity not in held:
                    task.cancel()

    async def _run(self, batch: Batch, stop: asyncio.Event) -> None:
        try:
            with told_when_away(KEPT):
                await self._taken_up(batch, stop)
        except GatewayError as fault:
            log.warning("batch_waits", extra={"fields": {"batch": batch.id, "error": fault.message}})
            with contextlib.suppress(GatewayError), told_when_away(KEPT):
                if self._clock.wall() > batch.expires_at + PATIENCE_SECONDS:
                    await self._finishing.fail(batch, [Fault("batch_lost", fault.message)], batch.total)
                    return
                await self._store.let_go(self._me, self._clock.wall() + AGAIN_SECONDS, batch.id)

    async def _taken_up(self, batch: Batch, stop: asyncio.Event) -> None:
        if self._failures.get(batch.id, 0) >= MOST_FAILURES:
            # Going on for ever would ask, and pay for, the same lines for ever.
            await self._finishing.end(batch, "failed", BROKEN)
            return
        found: Batch | None = batch
        if batch.in_progress_at is None:
            found = await self._looked_through(batch)
        if found is None:
            return
        if found.upstream:
            await self._elsewhere(found, stop)
        else:
            await self._here.run(found, stop)

    async def _elsewhere(self, batch: Batch, stop: asyncio.Event) -> None:
        try:
            await self._remote.run(batch, stop)
        except BatchRefused as refusal:
            # Its lines are answered all the same, one by one.
            log.warning("batch_refused", extra={"fields": {"batch": batch.id, "error": refusal.message}})
            found = await self._store.change(self._me, batch.id, upstream="")
            if found is not None:
                await self._here.run(found, stop)

    async def _looked_through(self, batch: Batch) -> Batch | None:
        """The batch, ready to run; None when it ends with faults. Everything that is wrong is told at once."""
        if batch.status == "cancelling":
            return batch
        file = await self._around.files.find(batch.input_file_id)
        if file is None or file.team != batch.team:
            await self._finishing.fail(batch, [Fault("input_file_not_found", "The input file was deleted.")])
            return None
        if file.size > MOST_BYTES:
            told = f"The input file has {file.size:,} bytes; a batch has at most {MOST_BYTES:,}."
            await self._finishing.fail(batch, [Fault("file_too_large", told)])
            return None
        lines = Lines(batch.endpoint)
        way = await self._way(batch, lines, split(self._around.files.parts(file.id)))
        faults = lines.settle()
        if faults:
            await self._finishing.fail(batch, faults, lines.count)
            return None
        model = next(iter(lines.models)) if len(lines.models) == 1 else ""
        # Nobody can refuse single lines there: where a hard budget might not hold them all, they are asked here.
        is_remote = way is not None and self._around.fits(batch, way.most_nano_usd)
        upstream = way.upstream if way is not None and is_remote else ""
        values = {"total": lines.count, "model": model, "upstream": upstream}
        return await self._store.begin(self._me, batch.id, self._clock.wall(), **values)

    async def _way(self, batch: Batch, lines: Lines, written: AsyncIterator[tuple[int, bytes]]) -> Way | None:
        """The one upstream that every line may go to, and what they cost there together at most; None for none."""
        principal = _principal.decode(batch.principal)
        ways: set[str | None] = set()
        most: int | None = 0
        async for number, text in written:
            if not lines.count % LINES_AT_A_TIME:
                await asyncio.sleep(0)
            if lines.count > MOST_LINES:
                break
            line = lines.read(number, text)
            if line is None or None in ways or len(ways) > 1:
                continue
            way = self._around.way(principal, batch.endpoint, line.body)
            ways.add(None if way is None else way.upstream)
            costs = None if way is None else way.most_nano_usd
            most = None if most is None or costs is None else most + costs
        upstream = next(iter(ways)) if len(ways) == 1 else None
        return None if upstream is None else Way(upstream, most)
