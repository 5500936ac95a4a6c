"""Ends a batch: its files are written, then it says so."""

from collections.abc import AsyncIterator

import msgspec

from gateway.batches.answers.store import AnswerStore
from gateway.batches.lines import Tally
from gateway.batches.store import BatchStore
from gateway.batches.values import Batch, Counts, Ending, Fault, Files
from gateway.core.clock import Clock
from gateway.core.stored_file import StoredFile

OUTPUT = "batch_output"


class Finishing:
    """Ends batches of one holder. Done again after a crash it gives the same files."""

    def __init__(self, store: BatchStore, answers: AnswerStore, files: Files, clock: Clock, holder: str) -> None:
        self._store = store
        self._answers = answers
        self._files = files
        self._clock = clock
        self._holder = holder

    async def end(self, batch: Batch, ending: Ending, fault: Fault | None = None) -> None:
        """Writes what the lines of a batch that ran here were answered, and ends it."""
        now = self._clock.wall()
        if batch.status != "cancelling":
            changes = {"status": "finalizing", "finalizing_at": batch.finalizing_at or now, "ending": ending}
            errors = batch.errors if fault is None else _json([fault])
            if await self._store.change(self._holder, batch.id, errors=errors, **changes) is None:
                return
        counts = (await self._answers.counts([batch.id]))[batch.id]
        tally = Tally()
        if counts.completed:
            await self.write(batch, self._tallied(batch, tally), is_error=False)
        if counts.failed:
            await self.write(batch, self._lines(batch, are_errors=True), is_error=True)
        await self.close(batch, ending, counts, tally.written())

    async def write(self, batch: Batch, chunks: AsyncIterator[bytes], *, is_error: bool) -> None:
        """Writes one of the batch's two files."""
        now = self._clock.wall()
        file = StoredFile(
            id=batch.error_id if is_error else batch.output_id,
            team=batch.team,
            filename=f"{batch.id}_{'error' if is_error else 'output'}.jsonl",
            purpose=OUTPUT,
            size=0,
            created_at=now,
            expires_at=None if batch.output_seconds is None else now + batch.output_seconds,
        )
        await self._files.write(file, chunks)

    async def close(
        self,
        batch: Batch,
        ending: Ending,
        counts: Counts,
        usage: str,
        files: tuple[bool, bool] | None = None,
    ) -> None:
        """Says that a batch has ended. files: whether there is output and errors; as the counts say without it."""
        has_output, has_errors = files or (counts.completed > 0, counts.failed > 0)
        await self._store.end(
            self._holder,
            batch.id,
            status=ending,
            completed=counts.completed,
            failed=counts.failed,
            usage=usage,
            has_output=has_output,
            has_errors=has_errors,
            **{f"{ending}_at": self._clock.wall()},
        )

    async def fail(self, batch: Batch, faults: list[Fault], total: int = 0) -> None:
        """Ends a batch that cannot be run, with its reasons."""
        now = self._clock.wall()
        await self._store.end(self._holder, batch.id, status="failed", failed_at=now, errors=_json(faults), total=total)

    async def _tallied(self, batch: Batch, tally: Tally) -> AsyncIterator[bytes]:
        async for chunk in self._lines(batch, are_errors=False):
            tally.add(chunk)
            yield chunk

    async def _lines(self, batch: Batch, *, are_errors: bool) -> AsyncIterator[bytes]:
        async for line in self._answers.lines(batch.id, are_errors=are_errors):
            yield line.encode() + b"\n"


def _json(faults: list[Fault]) -> str:
    return msgspec.json.encode(faults).decode()
