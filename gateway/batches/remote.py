"""Has a provider run a batch at its batch rates, follows it there, and brings its files here."""

import asyncio
import contextlib
import logging
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.batches.finishing import Finishing
from gateway.batches.lines import Tally
from gateway.batches.store import BatchStore
from gateway.batches.values import ENDINGS, NO_KEY, STATUSES, WINDOW, Around, Batch, BatchRefused, Counts, Fault
from gateway.core.clock import Clock
from gateway.core.errors import UpstreamFailed
from gateway.upstream.asking import ask, fetch
from gateway.upstream.upstreams import Upstream

BATCHES = "/batches"
# Under which key of a batch's metadata our id stands there: by it one is found again that was made in the moment
# before a crash.
MARK = "switchyard_batch"
MOST_METADATA = 16
PAGE, MOST_PAGES = 100, 5
FIRST_SECONDS, LONGEST_SECONDS, FACTOR = 0.5, 60.0, 1.5
# Statuses of a refusal that another try may mend.
AGAIN = frozenset({401, 403, 408, 409, 425, 429})
MISSING = 404
LOST = Fault("batch_lost", "The provider does not know this batch any more.")

log = logging.getLogger("gateway.batches")


class _Errors(msgspec.Struct):
    data: list[Fault] = []


class _Counts(msgspec.Struct):
    total: int = 0
    completed: int = 0
    failed: int = 0


class _Told(msgspec.Struct):
    id: str = ""
    status: str = ""
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Errors | None = None
    request_counts: _Counts | None = None
    metadata: dict[str, str] | None = None


class _Page(msgspec.Struct):
    data: list[_Told] = []
    has_more: bool = False


class Remote:
    """Runs batches at the upstream that they name."""

    def __init__(self, store: BatchStore, finishing: Finishing, around: Around, clock: Clock, holder: str) -> None:
        self._store = store
        self._finishing = finishing
        self._around = around
        self._clock = clock
        self._holder = holder

    async def run(self, batch: Batch, stop: asyncio.Event) -> None:
        """Follows a batch to its end there. Raises BatchRefused when the provider will not begin it.

        Raises UpstreamFailed (502) when it cannot be asked: what is known so far is kept.
        """
        if not batch.upstream_id and not self._around.is_good(batch):
            await self._finishing.end(batch, "cancelled", NO_KEY)
            return
        upstream = self._around.upstream(batch.upstream)
        identity = batch.upstream_id or await self._begun(upstream, batch)
        if not batch.upstream_id:
            # Watched before anything else: a batch that runs is a batch that is paid for.
            await self._around.book_later(batch, identity)
            if await self._store.change(self._holder, batch.id, upstream_id=identity) is None:
                return
        here = f"{BATCHES}/{quote(identity, safe='')}"
        is_told, looks = False, 0
        while True:
            is_good = self._around.is_good(batch)
            if (stop.is_set() or not is_good) and not is_told:
                # One that has ended meanwhile refuses: then it is mirrored as it ended.
                await ask(upstream, "POST", f"{here}/cancel")
                is_told = True
            told = await self._told(upstream, here)
            if told is None:
                await self._finishing.fail(batch, [LOST], batch.total)
                return
            if told.status in ENDINGS:
                await self._brought(batch, told, upstream, [] if is_good else [NO_KEY])
                return
            if not await self._mirrored(batch, told):
                return
            pause = min(FIRST_SECONDS * FACTOR**looks, LONGEST_SECONDS)
            looks += 1
            if is_told:
                await asyncio.sleep(min(pause, 1.0))
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()

    async def _begun(self, upstream: Upstream, batch: Batch) -> str:
        """The id of the batch there: of one that was begun before a crash, or of a new one."""
        after = ""
        for _ in range(MOST_PAGES):
            status, answer = await ask(upstream, "GET", f"{BATCHES}?limit={PAGE}{after}")
            page: _Page = _read(answer, _Page) if status < 300 else _Page()
            for told in page.data:
                if (told.metadata or {}).get(MARK) == batch.id:
                    return told.id
            if not page.has_more or not page.data:
                break
            after = f"&after={quote(page.data[-1].id, safe='')}"
        return await self._made(upstream, batch)

    async def _made(self, upstream: Upstream, batch: Batch) -> str:
        file = await self._around.files.find(batch.input_file_id)
        if file is None:
            raise BatchRefused("The input file was deleted.")
        pairs = msgspec.json.decode(batch.metadata, type=dict[str, str] | None) or {}
        body = {
            "input_file_id": await self._around.copied(batch.upstream, file),
            "endpoint": batch.endpoint,
            "completion_window": WINDOW,
            "metadata": dict([*list(pairs.items())[: MOST_METADATA - 1], (MARK, batch.id)]),
        }
        status, answer = await ask(upstream, "POST", BATCHES, msgspec.json.encode(body))
        if 400 <= status < 500 and status not in AGAIN:
            raise BatchRefused(f"Upstream {upstream.name!r} answered {status} to a batch.")
        told: _Told = _read(answer, _Told) if status < 300 else _Told()
        if not told.id:
            raise UpstreamFailed(f"Upstream {upstream.name!r} answered {status} to a batch.")
        return told.id

    async def _told(self, upstream: Upstream, here: str) -> _Told | None:
        status, answer = await ask(upstream, "GET", here)
        if status == MISSING:
            return None
        told: _Told = _read(answer, _Told) if status < 300 else _Told()
        if told.status not in STATUSES:
            raise UpstreamFailed(f"Upstream {upstream.name!r} answered {status} about a batch.")
        return told

    async def _mirrored(self, batch: Batch, told: _Told) -> bool:
        counts = told.request_counts or _Counts()
        changes: dict[str, Any] = {"completed": counts.completed, "failed": counts.failed}
        return await self._store.change(self._holder, batch.id, **changes) is not None

    async def _brought(self, batch: Batch, told: _Told, upstream: Upstream, more: list[Fault]) -> None:
        """Its files as they are there, byte for byte, under ids of ours."""
        tally = Tally()
        if told.output_file_id is not None:
            # Before it is fetched: from when on it is there, other teams must not get at it.
            await self._around.same_there(batch, batch.output_id, told.output_file_id)
            await self._finishing.write(batch, self._output(upstream, told.output_file_id, tally), is_error=False)
        if told.error_file_id is not None:
            await self._around.same_there(batch, batch.error_id, told.error_file_id)
            chunks = fetch(upstream, f"/files/{quote(told.error_file_id, safe='')}/content")
            await self._finishing.write(batch, chunks, is_error=True)
        faults = [*more, *(told.errors.data if told.errors is not None else ())]
        if faults:
            errors = msgspec.json.encode(faults).decode()
            if await self._store.change(self._holder, batch.id, errors=errors) is None:
                return
        counts = told.request_counts or _Counts()
        files = (told.output_file_id is not None, told.error_file_id is not None)
        found = Counts(counts.completed, counts.failed)
        await self._finishing.close(batch, ENDINGS[told.status], found, tally.written(), files)

    @staticmethod
    async def _output(upstream: Upstream, file_id: str, tally: Tally) -> Any:
        rest = b""
        async for chunk in fetch(upstream, f"/files/{quote(file_id, safe='')}/content"):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                if line.strip():
                    tally.add(line)
            yield chunk
        if rest.strip():
            tally.add(rest)


def _read(body: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailed("The upstream's answer about a batch is not what OpenAI's API gives.") from None
