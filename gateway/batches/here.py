"""Runs a batch here: each line as a call of its team, a bounded number at once, on from where a dead process was."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import msgspec

from gateway.batches.answers.store import AnswerStore
from gateway.batches.finishing import Finishing
from gateway.batches.lines import EXPIRED, Line, Lines, answer_line, failed_line, split
from gateway.batches.values import ENDINGS, NO_KEY, Around, Batch, Ending, Fault
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
# Lines whose day is over are written some at a time.
LATE_AT_ONCE = 500
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
        late: list[Line] = []
        seen = 0
        async with asyncio.TaskGroup() as group:
            async for line in lines_of(self._around, batch):
                seen += 1
                if line.number in done:
                    continue
                await room.acquire()
                if stop.is_set() or not self._around.is_good(batch):
                    break
                if self._clock.wall() >= batch.expires_at:
                    room.release()
                    late.append(line)
                    late = await self._too_late(batch, late, LATE_AT_ONCE)
                    continue
                task = group.create_task(self._answer(batch, line, ask, stop))
                task.add_done_callback(lambda _: room.release())
        await self._too_late(batch, late, 1)
        if stop.is_set():
            return "cancelled", None
        if not self._around.is_good(batch):
            return "cancelled", NO_KEY
        if seen < batch.total:
            return "failed", GONE
        return ("expired" if self._clock.wall() >= batch.expires_at else "completed"), None

    async def _answer(self, batch: Batch, line: Line, ask: Ask, stop: asyncio.Event) -> None:
        reply = await self._patiently(batch, line, ask, stop)
        if reply is not None:
            await self._written(batch, [(line.number, answer_line(line, reply))], are_errors=reply.status >= 300)
        elif not stop.is_set() and self._around.is_good(batch):
            await self._too_late(batch, [line], 1)

    async def _too_late(self, batch: Batch, lines: list[Line], least: int) -> list[Line]:
        """Says of lines that their day is over, if there are so many; gives those that are still to be told."""
        if len(lines) < least:
            return lines
        told = [(line.number, failed_line(line, *EXPIRED)) for line in lines]
        await self._written(batch, told, are_errors=True)
        return []

    async def _written(self, batch: Batch, answers: list[tuple[int, str]], *, are_errors: bool) -> None:
        """Writes, and waits for a database that is away: what was paid for is not thrown away."""
        while True:
            try:
                with told_when_away(KEPT):
                    await self._answers.write(batch.id, answers, are_errors=are_errors)
            except GatewayError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _patiently(self, batch: Batch, line: Line, ask: Ask, stop: asyncio.Event) -> Answered | None:
        """The reply, after other tries where these may mend it; None when the batch's time or key is over before it.

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
                async with asyncio.timeout(pause):
                    await stop.wait()
            if stop.is_set() or not self._around.is_good(batch):
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
    endings: dict[str, Ending] = {one: one for one in ENDINGS.values()}
    return endings.get(batch.ending) if batch.status == "finalizing" else None
