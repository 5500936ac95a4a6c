"""Decisions and why they fell so."""

import asyncio

import msgspec
from litestar import get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from gateway.core.errors import BadConfiguration, GatewayError, NotFound
from gateway.explained import explain_call, explain_record
from gateway.http.admin.needs import admin
from gateway.ledger.records import DecisionRecord
from gateway.policy.explain import Explained
from gateway.policy.load import Texts, load
from gateway.policy.written_call import CallEntry


class ToldDecision(msgspec.Struct):
    """A recorded decision, and the same decided again under the policy of then, in words.

    explained: None when that policy is not kept, or this version cannot read it any more; `not_explained` says why.
    """

    record: DecisionRecord
    explained: Explained | None
    not_explained: str | None = None


@get("/decisions/{decision_id:str}")
async def decision(state: State, decision_id: FromPath[str]) -> ToldDecision:
    """A recorded decision, by its id or its call's; it arrives within a second of the call."""
    needs = admin(state)
    record = await needs.books.decision(decision_id)
    if record is None:
        raise NotFound(f"There is no decision {decision_id!r}.")
    policy = needs.pipeline.policy
    try:
        if policy.hash != record.policy_hash:
            files = await needs.books.policy_files(record.policy_hash)
            if files is None:
                return ToldDecision(record, None, f"The policy {record.policy_hash!r} is not kept.")
            policy = (await asyncio.to_thread(load, Texts("policies as they were", files))).policy
        return ToldDecision(record, explain_record(policy, record))
    except (BadConfiguration, GatewayError) as fault:
        return ToldDecision(record, None, str(fault))


@post("/explain", status_code=200)
async def explain_written(state: State, data: JSONBody[CallEntry]) -> Explained:
    """Where a call would go and why, without sending it. What it leaves open of the signals is looked up."""
    pipeline = admin(state).pipeline
    return await explain_call(pipeline.policy, data, pipeline.clock.wall(), pipeline.paths.lookups)
