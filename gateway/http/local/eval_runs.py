"""/v1/evals/{id}/runs: runs of an eval, and their output items."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar, get_args

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import InvalidRequest, NotFound, RouteNotFound
from gateway.core.ids import new_id
from gateway.core.page import PageAsked
from gateway.http.local.eval_replies import item_object, run_object
from gateway.http.local.reading import json_body, metadata_of, oldest_first, query_of
from gateway.http.local.replies import Json, listed
from gateway.tuning.evals.data_source import Asked, FileId, NewRun, read_new_run
from gateway.tuning.evals.items.store import ItemStore
from gateway.tuning.evals.runs.store import RunStore
from gateway.tuning.evals.source import rows_of
from gateway.tuning.evals.values import RUN, Eval, ItemStatus, Row, Run, RunStatus
from gateway.tuning.evals.written import read_criteria
from gateway.wire.json_object import read_object

MOST_PAGE, USUAL_PAGE = 100, 20
STATUSES: dict[str, RunStatus] = {status: status for status in get_args(RunStatus)}
# The SDK's word, and the other one that its text uses.
ITEM_STATUSES: dict[str, ItemStatus] = {
    "pass": "pass",
    "passed": "pass",
    "fail": "fail",
    "failed": "fail",
    "error": "error",
    "errored": "error",
}

Status = TypeVar("Status", bound=str)
# Names and bytes of those files that are kept here, by id; raises NotFound (404) for another team's.
Contents = Callable[[tuple[str, ...], Principal], Awaitable[dict[str, tuple[str, bytes]]]]


class EvalRuns:
    """Answers for the runs of an eval that was found. wake: told when there is something to evaluate."""

    def __init__(
        self, runs: RunStore, items: ItemStore, contents: Contents, wake: Callable[[], None], clock: Clock
    ) -> None:
        self._runs = runs
        self._items = items
        self._contents = contents
        self._wake = wake
        self._clock = clock

    async def serve(self, made: Eval, below: list[str], inbound: Inbound, principal: Principal) -> Json:
        """The reply. below: of the path, below the eval. Raises GatewayError."""
        match (inbound.method, *below):
            case ("GET", "runs"):
                return await self._page(made, inbound)
            case ("POST", "runs"):
                return await self._create(made, inbound, principal)
            case (_, "runs", identity, *rest):
                run = await self._runs.find(made.id, identity)
                if run is None:
                    raise NotFound(f"No run found with id {identity!r}.", param="run_id")
                return await self._of_run(made, run, rest, inbound)
        raise _unknown(inbound)

    async def _of_run(self, made: Eval, run: Run, rest: list[str], inbound: Inbound) -> Json:
        match (inbound.method, *rest):
            case ("GET",):
                return await self._told(made, run, inbound)
            # Older versions of the SDK cancel at the run itself.
            case ("POST",) | ("POST", "cancel"):
                return await self._cancel(made, run, inbound)
            case ("DELETE",):
                await self._runs.remove(run.id)
                return {"object": "eval.run.deleted", "deleted": True, "run_id": run.id}
            case ("GET", "output_items"):
                return await self._items_page(run, inbound)
            case ("GET", "output_items", identity):
                item = await self._items.find(run.id, identity)
                if item is None:
                    raise NotFound(f"No output item found with id {identity!r}.", param="output_item_id")
                return item_object(item, run)
        raise _unknown(inbound)

    async def _create(self, made: Eval, inbound: Inbound, principal: Principal) -> Json:
        body = json_body(inbound)
        read = await asyncio.to_thread(read_new_run, body)
        metadata_of(read.metadata)
        rows = await self._rows(made, read, principal)
        source = read.data_source
        run = Run(
            id=new_id(RUN),
            eval_id=made.id,
            team=principal.team,
            principal=msgspec.json.encode(principal).decode(),
            name=read.name or "",
            metadata=msgspec.json.encode(read.metadata).decode(),
            data_source=bytes(read_object(body)["data_source"]).decode(),
            model=source.model if isinstance(source, Asked) else "",
            status="queued",
            created_at=self._clock.wall(),
            item_count=len(rows),
        )
        if not await self._runs.create(run, rows):
            raise NotFound(f"No eval found with id {made.id!r}.", param="eval_id")
        self._wake()
        return await self._told(made, run, inbound)

    async def _rows(self, made: Eval, read: NewRun, principal: Principal) -> list[Row]:
        named, content = read.data_source.source, None
        if isinstance(named, FileId):
            found = await self._contents((named.id,), principal)
            if named.id not in found:
                raise NotFound(
                    f"No such File object: {named.id}. An eval reads files that are kept here; upload it with the "
                    "purpose 'evals' or 'user_data'.",
                    param="data_source.source.id",
                )
            content = found[named.id][1]
        schema = msgspec.json.decode(made.data_source_config)["item_schema"]
        criteria = read_criteria(made.testing_criteria)
        return await asyncio.to_thread(rows_of, read.data_source, content, schema, criteria)

    async def _told(self, made: Eval, run: Run, inbound: Inbound) -> Json:
        progress = await self._runs.progress([run.id])
        return run_object(run, made, progress[run.id], _report_url(inbound, run))

    async def _cancel(self, made: Eval, run: Run, inbound: Inbound) -> Json:
        await self._runs.end(run.id, "canceled")
        return await self._told(made, await self._runs.find(made.id, run.id) or run, inbound)

    async def _page(self, made: Eval, inbound: Inbound) -> Json:
        query = query_of(inbound)
        status = _chosen(query.get("status"), STATUSES)
        page = await self._runs.page(made.id, _asked(query), status)
        progress = await self._runs.progress([run.id for run in page.items])
        told = [run_object(run, made, progress[run.id], _report_url(inbound, run)) for run in page.items]
        return listed(page, told)

    async def _items_page(self, run: Run, inbound: Inbound) -> Json:
        query = query_of(inbound)
        status = _chosen(query.get("status"), ITEM_STATUSES)
        page = await self._items.page(run.id, _asked(query), status)
        return listed(page, [item_object(item, run) for item in page.items])


def _asked(query: dict[str, str]) -> PageAsked:
    return oldest_first(query, most=MOST_PAGE, otherwise=USUAL_PAGE)


def _chosen(word: str | None, words: Mapping[str, Status]) -> Status | None:
    if not word:
        return None
    if word not in words:
        raise InvalidRequest(f"status is {word!r}; it must be one of {', '.join(words)}.", param="status")
    return words[word]


def _report_url(inbound: Inbound, run: Run) -> str:
    """Where this run is told of, at the address that its caller came to."""
    scheme = (inbound.header(b"x-forwarded-proto") or b"http").decode("latin-1").partition(",")[0].strip()
    host = (inbound.header(b"host") or b"localhost").decode("latin-1")
    return f"{scheme}://{host}/v1/evals/{run.eval_id}/runs/{run.id}"


def _unknown(inbound: Inbound) -> RouteNotFound:
    return RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")
