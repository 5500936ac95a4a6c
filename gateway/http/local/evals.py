"""/v1/evals: a team's evals. What is below one of them is in `eval_runs.py`."""

import asyncio

import msgspec

from gateway.core.call import Inbound, Principal
from gateway.core.clock import Clock
from gateway.core.errors import InvalidRequest, NotFound, RouteNotFound
from gateway.core.ids import new_id
from gateway.http.local.eval_replies import eval_object
from gateway.http.local.eval_runs import EvalRuns
from gateway.http.local.reading import json_body, metadata_of, oldest_first, query_of
from gateway.http.local.replies import Json, listed
from gateway.tuning.evals.store import EvalStore, OrderBy
from gateway.tuning.evals.values import MADE, Eval
from gateway.tuning.evals.written import read_changed_eval, read_new_eval
from gateway.wire.json_object import read_object

MOST_PAGE, USUAL_PAGE = 100, 20
ORDERS: dict[str, OrderBy] = {"created_at": "created_at", "updated_at": "updated_at"}


class Evals:
    """Answers for evals. One of another team looks like one that does not exist."""

    def __init__(self, store: EvalStore, runs: EvalRuns, clock: Clock) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock

    async def serve(self, rest: list[str], inbound: Inbound, principal: Principal) -> Json | None:
        """The reply. rest: of the path, below `/v1/evals`. Raises GatewayError."""
        match (inbound.method, *rest):
            case ("GET",):
                return await self._page(inbound, principal)
            case ("POST",):
                return await self._create(inbound, principal)
            case (method, identity, *below):
                made = await self._store.find(identity, principal.team)
                if made is None:
                    raise NotFound(f"No eval found with id {identity!r}.", param="eval_id")
                if below:
                    return await self._runs.serve(made, below, inbound, principal)
                if method == "GET":
                    return eval_object(made)
                return await (self._change(made, inbound) if method == "POST" else self._delete(made))
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {inbound.path}.")

    async def _create(self, inbound: Inbound, principal: Principal) -> Json:
        body = json_body(inbound)
        read = await asyncio.to_thread(read_new_eval, body)
        metadata_of(read.metadata)
        written = read_object(body)
        now = self._clock.wall()
        made = Eval(
            id=new_id(MADE),
            team=principal.team,
            name=read.name or "",
            metadata=msgspec.json.encode(read.metadata).decode(),
            data_source_config=bytes(written["data_source_config"]).decode(),
            testing_criteria=bytes(written["testing_criteria"]).decode(),
            created_at=now,
            updated_at=now,
        )
        await self._store.create(made)
        return eval_object(made)

    async def _page(self, inbound: Inbound, principal: Principal) -> Json:
        query = query_of(inbound)
        by = ORDERS.get(query.get("order_by") or "created_at")
        if by is None:
            raise InvalidRequest(f"order_by must be one of {', '.join(ORDERS)}.", param="order_by")
        page = await self._store.page(principal.team, oldest_first(query, most=MOST_PAGE, otherwise=USUAL_PAGE), by)
        return listed(page, [eval_object(made) for made in page.items])

    async def _change(self, made: Eval, inbound: Inbound) -> Json:
        body = json_body(inbound)
        read = read_changed_eval(body)
        values: dict[str, str] = {}
        if "name" in read.model_fields_set:
            values["name"] = read.name or ""
        if "metadata" in read.model_fields_set:
            metadata_of(read.metadata)
            values["metadata"] = msgspec.json.encode(read.metadata).decode()
        now = self._clock.wall()
        if values:
            await self._store.change(made.id, now, values)
        return eval_object(msgspec.structs.replace(made, updated_at=now, **values))

    async def _delete(self, made: Eval) -> Json:
        await self._store.remove(made.id)
        return {"object": "eval.deleted", "deleted": True, "eval_id": made.id}
