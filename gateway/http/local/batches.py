"""/v1/batches: files of requests, answered within a day."""

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.batches.answers.store import AnswerStore
from gateway.batches.store import BatchStore
from gateway.batches.values import ENDPOINTS, OUR_IDS, WINDOW, WINDOW_SECONDS, Batch, Counts, Fault, Files
from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import Conflict, InvalidRequest, NotFound, RouteNotFound
from gateway.core.ids import new_id
from gateway.http.local.files import LONGEST_SECONDS, SHORTEST_SECONDS
from gateway.http.local.reading import body_of, metadata_of, page_asked, query_of
from gateway.http.local.replies import Json, listed

USUAL, MOST = 20, 100
PURPOSE = "batch"
FILE_IDS = "file-sw"
TIMES = (
    "expires_at",
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)

# Raises BudgetExceeded (429) for whom no room is left in a hard budget, by principal and metadata.
Admit = Callable[[Principal, dict[str, str]], None]


class _Expires(msgspec.Struct):
    anchor: str
    seconds: int


class _New(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, Any] | None = None
    output_expires_after: _Expires | None = None


_new = msgspec.json.Decoder(_New)
_faults = msgspec.json.Decoder(list[Fault])


class Batches:
    """Answers for batches of teams. One of another team looks like one that does not exist.

    wake: told when there is something to run.
    """

    def __init__(
        self,
        store: BatchStore,
        answers: AnswerStore,
        files: Files,
        admit: Admit,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._store = store
        self._answers = answers
        self._files = files
        self._admit = admit
        self._wake = wake
        self._clock = clock

    async def serve(self, rest: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        """What a request below /v1/batches comes to; None for what is a provider's."""
        match (inbound.method, *rest):
            case ("POST",):
                return await self._create(inbound, principal)
            case ("GET",):
                page = await self._store.page(principal.team, page_asked(query_of(inbound), most=MOST, otherwise=USUAL))
                return listed(page, await self._told(page.items))
            case (_, identity, *below):
                return await self._of_batch(identity, below, inbound, principal)
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")

    async def _of_batch(self, identity: str, below: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        batch = await self._store.find(identity)
        if batch is None and not identity.startswith(OUR_IDS):
            there = await self._store.run_at_provider(identity)
            if there is None or there.team == principal.team:
                return None
        if batch is None or batch.team != principal.team:
            raise NotFound(f"No batch found with id {identity!r}.", param="batch_id")
        match (inbound.method, *below):
            case ("GET",):
                return (await self._told((batch,)))[0]
            case ("POST", "cancel"):
                cancelled = await self._store.cancel(identity, self._clock.wall())
                if cancelled is None:
                    now = await self._store.find(identity) or batch
                    raise Conflict(f"Batch {identity} is {now.status}; it cannot be cancelled any more.")
                self._wake()
                return (await self._told((cancelled,)))[0]
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")

    async def _create(self, inbound: Inbound, principal: Principal) -> Json | None:
        body = body_of(inbound, _new)
        file = await self._files.find(body.input_file_id)
        if file is None and not body.input_file_id.startswith(FILE_IDS):
            # A provider's own file: the batch is then its own too, unless it is here whose file it is.
            if await self._files.of_others((body.input_file_id,), principal.team):
                raise InvalidRequest(f"No such File object: {body.input_file_id}", param="input_file_id")
            return None
        metadata = metadata_of(body.metadata)
        _require_known(body)
        if file is None or file.team != principal.team:
            raise InvalidRequest(f"No such File object: {body.input_file_id}", param="input_file_id")
        if file.purpose != PURPOSE:
            told = f"File {file.id!r} has the purpose {file.purpose!r}; it must be {PURPOSE!r}."
            raise InvalidRequest(told, param="input_file_id")
        self._admit(principal, metadata)
        now = self._clock.wall()
        batch = Batch(
            id=OUR_IDS + new_id("").removeprefix("_"),
            team=principal.team,
            principal=msgspec.json.encode(principal).decode(),
            endpoint=body.endpoint,
            input_file_id=file.id,
            status="validating",
            metadata=msgspec.json.encode(metadata or None).decode(),
            created_at=now,
            expires_at=now + WINDOW_SECONDS,
            output_id=FILE_IDS + new_id("").removeprefix("_"),
            error_id=FILE_IDS + new_id("").removeprefix("_"),
            output_seconds=None if body.output_expires_after is None else body.output_expires_after.seconds,
        )
        await self._store.create(batch)
        self._wake()
        return batch_object(batch, Counts())

    async def _told(self, batches: tuple[Batch, ...]) -> list[Json]:
        """How they stand: while one runs here its answers are counted, else it says itself."""
        running = [one.id for one in batches if not one.has_ended and not one.upstream]
        counts = await self._answers.counts(running) if running else {}
        return [batch_object(one, counts.get(one.id, Counts(one.completed, one.failed))) for one in batches]


def batch_object(batch: Batch, counts: Counts) -> Json:
    """A batch as OpenAI's object; `usage` stands there once it has ended and every answer told what it used."""
    faults = _faults.decode(batch.errors)
    told: Json = {name: _whole(getattr(batch, name)) for name in TIMES}
    return told | {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "errors": {"object": "list", "data": faults} if faults else None,
        "input_file_id": batch.input_file_id,
        "completion_window": WINDOW,
        "status": batch.status,
        "output_file_id": batch.output_id if batch.has_output else None,
        "error_file_id": batch.error_id if batch.has_errors else None,
        "created_at": int(batch.created_at),
        "request_counts": {"total": batch.total, "completed": counts.completed, "failed": counts.failed},
        "usage": msgspec.Raw(batch.usage.encode()) if batch.usage else None,
        "metadata": msgspec.Raw(batch.metadata.encode()),
    }


def _require_known(body: _New) -> None:
    if body.endpoint not in ENDPOINTS:
        told = f"endpoint is {body.endpoint!r}; it must be one of {', '.join(ENDPOINTS)}."
        raise InvalidRequest(told, param="endpoint")
    if body.completion_window != WINDOW:
        told = f"completion_window is {body.completion_window!r}; it must be {WINDOW!r}."
        raise InvalidRequest(told, param="completion_window")
    expires = body.output_expires_after
    if expires is None:
        return
    if expires.anchor != "created_at" or not SHORTEST_SECONDS <= expires.seconds <= LONGEST_SECONDS:
        told = f"output_expires_after has the anchor 'created_at' and {SHORTEST_SECONDS} to {LONGEST_SECONDS} seconds."
        raise InvalidRequest(told, param="output_expires_after")


def _whole(at: float | None) -> int | None:
    return None if at is None else int(at)
