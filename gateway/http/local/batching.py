"""Batches of one process: all their parts."""

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from gateway.batch_ways import BatchWays
from gateway.batches.answers.store import AnswerStore
from gateway.batches.runner import Runner
from gateway.batches.store import BatchStore
from gateway.batches.values import Batch, BatchRefused, Way
from gateway.core.answered import Ask
from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.core.errors import UpstreamFailed
from gateway.core.stored_file import StoredFile
from gateway.db.engine import Database
from gateway.files.copies import Copies, CopyRefused
from gateway.http.local.batches import Batches
from gateway.http.local.surface import Also
from gateway.ledger.jobs.store import Job, JobStore
from gateway.own_calls import PURPOSE, OwnCalls
from gateway.pipeline import Pipeline
from gateway.tuned import Tuned
from gateway.upstream.upstreams import Upstream

BATCH = "batch"
FIRST_SECONDS = 2.0

_principal = msgspec.json.Decoder(Principal)


class Batching:
    """also: what answers requests, by the first part of their paths.

    It is what running batches needs of the gateway; see `Around`.
    """

    def __init__(self, database: Database, tuned: Tuned, own_calls: OwnCalls, pipeline: Pipeline, clock: Clock) -> None:
        self.files = tuned.files
        self._copies = Copies(tuned.files)
        self._own_calls = own_calls
        self._upstreams = upstreams = pipeline.sender.upstreams
        self._ways = BatchWays(lambda: pipeline.policy, pipeline.ledger, upstreams, clock)
        self._jobs = JobStore(database)
        store, answers = BatchStore(database), AnswerStore(database)
        runner = Runner(store, answers, self, clock)
        batches = Batches(store, answers, tuned.files, tuned.training.admit, runner.wake, clock)
        self.also: dict[str, Also] = {"batches": batches.serve}
        self.works: tuple[tuple[str, Callable[[], Coroutine[Any, Any, None]]], ...] = (("batches", runner.run),)

    def asking(self, principal: Principal) -> Ask:
        """See Around. The rows of its calls say what they were made for."""
        return lambda path, body: self._own_calls.ask(principal, path, body, purpose=BATCH)

    def is_good(self, batch: Batch) -> bool:
        """See Around."""
        return self._own_calls.is_good(_principal.decode(batch.principal), batch.created_at)

    def way(self, principal: Principal, path: str, body: bytes) -> Way | None:
        """See Around."""
        return self._ways.of(principal, path, body)

    def fits(self, batch: Batch, most_nano_usd: int | None) -> bool:
        """See Around."""
        return self._ways.fits(_principal.decode(batch.principal), _metadata(batch), most_nano_usd)

    def upstream(self, name: str) -> Upstream:
        """See Around."""
        found = self._upstreams.current.get(name)
        if found is None:
            raise UpstreamFailed(f"Upstream {name!r} is not in models.yaml any more.")
        return found

    async def copied(self, upstream: str, file: StoredFile) -> str:
        """See Around."""
        try:
            return await self._copies.at(self.upstream(upstream), file, BATCH)
        except CopyRefused as refusal:
            raise BatchRefused(f"Upstream {upstream!r} refused the file: {refusal}") from None

    async def same_there(self, batch: Batch, file_id: str, upstream_id: str) -> None:
        """See Around."""
        await self.files.copied(file_id, batch.team, batch.upstream, upstream_id)

    async def book_later(self, batch: Batch, upstream_id: str) -> None:
        """See Around. The rows are those of any batch that runs at a provider: by its id there."""
        principal = _principal.decode(batch.principal)
        metadata = _metadata(batch) | {PURPOSE: BATCH}
        job = Job(
            id=upstream_id,
            kind="batch",
            upstream=batch.upstream,
            team=batch.team,
            key_id=principal.key_id,
            organisation=principal.organisation,
            model=batch.model,
            created_at=batch.created_at,
            due_at=batch.created_at + FIRST_SECONDS,
            metadata=msgspec.json.encode(metadata).decode(),
        )
        await self._jobs.remember([job])


def _metadata(batch: Batch) -> dict[str, str]:
    """What the batch says of itself, and above it what its key says."""
    asked = msgspec.json.decode(batch.metadata, type=dict[str, str] | None) or {}
    return asked | dict(_principal.decode(batch.principal).metadata)
