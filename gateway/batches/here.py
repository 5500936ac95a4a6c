"""Runs a batch here: each line as a call of its team, a bounded number at once, on from where a dead process was."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import msgspec

from gateway.batches.answers.store import AnswerStore
from gateway.batches.finishing import Finishing
from gateway.batches.lines import EXPIRED, Line, Lines, answer_line, failed_line, split
from gateway.batches.values import Around, Batch, Ending, Fault
from gateway.core.answered import Answered, Ask
from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.core.errors import GatewayError, NotFound
from gateway.db.away import told_when_away

# Of one batch, and of all batches in this process: more would compete with calls that somebody waits for.
AT_ONCE, ALL_AT_ONCE = 8, 16
MOST_TRIES = 5
PAUSE_SECONDS, LONGEST_SECONDS = 0.5, 30.0
AGAIN_SECONDS = 1.0
# What another try may mend. A limit of calls in a minute mends itself; a spent budget does not.
AGAIN = frozenset({408, 409, 425, 500, 502, 503, 504})
LIMITED, SPENT = 429, b'"insufficient_quota"'
KEPT = "batches"
GONE = Fault("input_file_not_found", "The input file was deleted before all of its requests were asked.")

_principal = msgspec.json.Decoder(Principal)


class Here:
    """Runs batches. A line that was answered is never asked again."""

    def __init__(self, answers: AnswerStore, finishing: Finishing, around: Around, clock: Clock) -> None:
        self._answers = answers
        self._finishing = finishing
        self._around = around
        self._clock = clock
        self._slots = asyncio.Semaphore(ALL_AT_ONCE)

    async def run(self, batch: Batch, stop: asyncio.Event) -> None:
        """Runs a batch to its end. stop: its team wants it cancelled; what is being asked then is still answered."""
        ending, fault = _ending(batch), None
        if ending is None:
            ending, fault = await self._asked(batch, stop)
        await self._finishing.end(batch, ending, fault)

    async def _asked(self, batch: Batch, stop: asyncio.Event) -> tuple[Ending, Fault | None]:
        done = await self._answers.numbers(batch.id)
        ask = self._around.asking(_principal.decode(batch.principal))
        room = asyncio.Semaphore(AT_ONCE)
        has_expired = False
        seen = 0
        async with asyncio.TaskGroup() as group:
            async for line in lines_of(self._around, batch):
                seen += 1
                if line.number in done:
                    continue
                await room.acquire()
                if stop.is_set():
                    break
                if self._clock.wall() >= batch.expires_at:
                    has_expired = True
                task = group.create_task(self._answer(batch, line, ask, stop))
                task.add_done_callback(lambda _: room.release())
        if stop.is_set():
            return "cancelled", None
        if seen < batch.total:
            return "failed", GONE
        return ("expired" if has_expired or self._clock.wall() >= batch.expires_at else "completed"), None

    async def _answer(self, batch: Batch, line: Line, ask: Ask, stop: asyncio.Event) -> None:
        reply = await self._patiently(batch, line, ask, stop)
        if reply is None and stop.is_set():
            return
        is_error = reply is None or reply.status >= 300
        written = failed_line(line, *EXPIRED) if reply is None else answer_line(line, reply)
        while True:
            # What was paid for is not thrown away while the database is away.
            try:
                with told_when_away(KEPT):
                    await self._answers.write(batch.id, line.number, written, is_error=is_error)
            except GatewayError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _patiently(self, batch: Batch, line: Line, ask: Ask, stop: asyncio.Event) -> Answered | None:
        """The reply, after other tries where these may mend it; None when the batch's time is over before there is one.

        The room of all batches is given back between tries.
        """
        tries = 0
        while self._clock.wall() < batch.expires_at:
            async with self._slots:
                reply = await ask(batch.endpoint, line.body)
            is_limited = reply.status == LIMITED and SPENT not in reply.body
            tries += not is_limited
            if not is_limited and (reply.status not in AGAIN or tries >= MOST_TRIES):
                return reply
            pause = min(PAUSE_SECONDS * 2.0 ** max(0, tries - 1), LONGEST_SECONDS)
            pause *= random.uniform(0.8, 1.2)  # noqa: S311  # a spread, not a secret
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            if stop.is_set():
                return None
        return None


async def lines_of(around: Around, batch: Batch) -> AsyncIterator[Line]:
    """The batch's requests, as they were when it was looked through. They end early when the file is deleted."""
    reader = Lines(batch.endpoint)
    with contextlib.suppress(NotFound):
        async for number, written in split(around.files.parts(batch.input_file_id)):
            line = reader.read(number, written)
            if line is not None:
                yield line


def _ending(batch: Batch) -> Ending | None:
    """How a batch ends that was being finished when its process died."""
    if batch.status == "cancelling":
        return "cancelled"
    endings: dict[str, Ending] = {"completed": "completed", "expired": "expired", "failed": "failed"}
    return endings.get(batch.ending) if batch.status == "finalizing" else None
