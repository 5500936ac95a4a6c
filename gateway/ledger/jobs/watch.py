"""Looks after jobs: noted before their caller hears of them, asked about until they end, booked once."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import quote

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.errors import GatewayError
from gateway.core.event import UsageEvent
from gateway.ledger.entry import Ledger
from gateway.ledger.jobs.booking import book_job
from gateway.ledger.jobs.reading import (
    KINDS,
    Tally,
    Told,
    batch_events,
    read_page,
    read_told,
    training_event,
    unknown_event,
)
from gateway.ledger.jobs.store import Job, JobStore
from gateway.upstream.asking import fetch
from gateway.upstream.upstreams import Upstream, Upstreams

PATHS = {"training": "/v1/fine_tuning/jobs", "batch": "/v1/batches"}
LOOK_SECONDS = 0.5
FIRST_SECONDS = 2.0
LONGEST_SECONDS = 600.0
FACTOR = 1.6
# A watcher that dies lets its jobs go by that; one that lives holds them for as long as it reads.
HOLD_SECONDS = 15.0
AT_ONCE = 10
# A batch has a day and a training some; who says nothing for this long is not going to.
MOST_SECONDS = 45 * 86_400.0
MOST_LINE = 64 * 1024 * 1024

log = logging.getLogger("gateway.ledger")


class JobWatch:
    """Watches over the jobs of all processes. folder: notes that the database has not got yet."""

    def __init__(self, ledger: Ledger, store: JobStore, upstreams: Upstreams, folder: Path) -> None:
        self._ledger = ledger
        self._store = store
        self._upstreams = upstreams
        self._folder = folder
        self._seen: set[str] = set()
        self._booked: set[str] = set()

    def see(self, call: Call, principal: Principal, upstream: str, body: bytes) -> None:
        """Looks at a reply that passed: a job begun is noted, on disk, and one that ended is soon asked about.

        Without an await, and before the caller's last byte: a job that somebody knows of is a job that is watched.
        """
        inbound = call.inbound
        path = inbound.path.rstrip("/")
        if not path.startswith(tuple(PATHS.values())):
            return
        told = read_told(body)
        if told is None:
            self._seen.update(one.id for one in read_page(body) if one.has_ended)
            return
        if told.has_ended:
            self._seen.add(told.id)
        if inbound.method != "POST" or path not in PATHS.values():
            return
        now = self._ledger.clock.wall()
        job = Job(
            id=told.id,
            kind=KINDS[told.object],
            upstream=upstream,
            team=principal.team,
            key_id=principal.key_id,
            organisation=principal.organisation,
            model=told.model or call.model,
            created_at=now,
            due_at=now + FIRST_SECONDS,
            metadata=msgspec.json.encode(dict(call.metadata)).decode(),
        )
        try:
            self._note(job)
        except OSError as fault:
            # The job is made and its caller must hear of it; that it goes unwatched, the operator must.
            log.exception("job_not_noted", extra={"fields": {"job": job.id, "error": fault.strerror}})

    def _note(self, job: Job) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = quote(job.id, safe="")[:200]
        partial = self._folder / f"{name}.partial"
        partial.write_bytes(msgspec.json.encode(job))
        partial.replace(self._folder / f"{name}.job")

    async def run(self) -> None:
        """Watches, for ever. Raises the database's error when it is away."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Hands notes to the database, and asks about the jobs that are due."""
        await self._hand_over()
        now, seen = self._ledger.clock.wall(), set(self._seen)
        await self._store.hurry(seen - self._booked, now)
        self._seen -= seen
        jobs = await self._store.claim(now, HOLD_SECONDS, AT_ONCE)
        if not jobs:
            return
        asking = asyncio.gather(*(self._ask(job) for job in jobs))
        try:
            while not (await asyncio.wait((asking,), timeout=HOLD_SECONDS / 3))[0]:
                await self._store.hold(jobs, self._ledger.clock.wall() + HOLD_SECONDS)
            await asking
        finally:
            asking.cancel()

    async def _hand_over(self) -> None:
        noted = {path: path.read_bytes() for path in sorted(self._folder.glob("*.job"))}
        for path, written in noted.items():
            try:
                job = msgspec.json.decode(written, type=Job)
            except msgspec.DecodeError:
                log.warning("job_unreadable", extra={"fields": {"note": path.name}})
                path.rename(path.with_suffix(".unreadable"))
                continue
            await self._store.remember([job])
            # Another worker may have handed over the same.
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    async def _ask(self, job: Job) -> None:
        now = self._ledger.clock.wall()
        if job.id in self._booked:
            await self._store.booked(job)
            return
        upstream = self._upstreams.current.get(job.upstream)
        told: Told | None = None
        try:
            if upstream is not None:
                body = b"".join([chunk async for chunk in fetch(upstream, f"{_below(job)}/{quote(job.id, safe='')}")])
                told = read_told(body)
            if upstream is not None and told is not None and told.has_ended:
                await self._book(job, await self._events(job, told, upstream))
                return
        except GatewayError as fault:
            log.warning("job_not_read", extra={"fields": {"job": job.id, "error": fault.message}})
        if now - job.created_at > MOST_SECONDS:
            log.error("job_given_up", extra={"fields": {"job": job.id, "upstream": job.upstream}})
            await self._book(job, [unknown_event(job, await self._store.ended(job, now))])
            return
        pause = min(FIRST_SECONDS * FACTOR ** min(job.tries, 30), LONGEST_SECONDS)
        await self._store.later(job, now + pause * random.uniform(0.8, 1.2))  # noqa: S311  # a spread, not a secret

    async def _events(self, job: Job, told: Told, upstream: Upstream) -> list[UsageEvent]:
        tally = Tally()
        if job.kind == "batch":
            for file in (told.output_file_id, told.error_file_id):
                if file is not None:
                    async with aclosing(_lines(fetch(upstream, f"/files/{quote(file, safe='')}/content"))) as lines:
                        async for line in lines:
                            tally.add(line)
        at = await self._store.ended(job, told.ended_at or self._ledger.clock.wall())
        if job.kind == "batch":
            return batch_events(job, told, at, tally, self._ledger.prices)
        return [training_event(job, told, at, self._ledger.prices)]

    async def _book(self, job: Job, events: list[UsageEvent]) -> None:
        book_job(self._ledger, job, events)
        self._booked.add(job.id)
        await self._store.booked(job)


def _below(job: Job) -> str:
    return PATHS[job.kind].removeprefix("/v1")


async def _lines(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The lines of a body that is too large to be held. Raises GatewayError as the body does."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > MOST_LINE:
            rest = b"{"
    if rest.strip():
        yield rest
