"""Embedded questions and documents, and reranking, in the books."""

from msgspec.structs import replace

from gateway.core.call import Call, Principal
from gateway.core.clock import utc_day
from gateway.core.event import UsageEvent
from gateway.core.ids import new_id
from gateway.core.usage import Usage
from gateway.ledger.entry import Ledger
from gateway.ledger.records import Final
from gateway.pricing.rates import priced

RETRIEVAL = "retrieval"
# What stands where a row's endpoint would, by what an embedder or a reranker was used for.
ENDPOINTS = {"query": RETRIEVAL, "ingest": "ingest", "rerank": "rerank"}


def book_retrieval(
    ledger: Ledger,
    principal: Principal,
    upstream: str,
    model: str,
    tokens: int | None,
    collection: str,
    *,
    call: Call | None = None,
    is_free: bool = False,
    purpose: str = "query",
) -> None:
    """Books the embedding of a question, or its reranking: an amount of its call, in a row of its own.

    purpose: `query`, `ingest` (documents) or `rerank`; the row's endpoint is `retrieval`, `ingest` or `rerank`.
    call: None for what no call has asked for, such as documents that are loaded. tokens: None when the embedder
    did not say; the row then has neither tokens nor a cost. is_free: it was done on this machine, and nobody
    sends a bill.
    """
    event = _embedded(principal, upstream, model, collection, call, ledger.clock.wall())
    event = replace(event, endpoint=ENDPOINTS.get(purpose, RETRIEVAL))
    meters = ledger.budgets.meters(principal, event.metadata, event.at)
    usage = None if tokens is None else Usage(tokens, 0)
    event = replace(event, usage=usage, pools=tuple([meter.pool for meter in meters]))
    event = replace(event, cost_nano_usd=0, cost_status="free") if is_free else _priced(ledger, event)
    ledger.journal.finish(Final(event))
    ledger.book(event)
    ledger.budgets.charge(meters, event.cost_nano_usd or 0)


def _embedded(
    principal: Principal, upstream: str, model: str, collection: str, call: Call | None, at: float
) -> UsageEvent:
    row = new_id("emb")
    call_id = call.inbound.call_id if call is not None and call.inbound.call_id else row
    return UsageEvent(
        id=f"{call_id}.{row}",
        call_id=call_id,
        attempt=1,
        last=False,
        at=at,
        team=principal.team,
        key_id=principal.key_id,
        endpoint=RETRIEVAL,
        asked_model=model,
        path="rag",
        upstream=upstream,
        model=model,
        line=None,
        rule="",
        collections=(collection,),
        outcome="ok",
        status=200,
        error="",
        stream=False,
        usage=None,
        cost_nano_usd=None,
        cost_by_kind=(),
        cost_status="unpriced",
        price_source="",
        context_tokens=0,
        seconds=0.0,
        first_byte_seconds=None,
        upstream_seconds=0.0,
        metadata=call.metadata if call is not None else (),
        organisation=principal.organisation,
    )


def _priced(ledger: Ledger, event: UsageEvent) -> UsageEvent:
    rates = ledger.prices.rates(event.model, utc_day(event.at))
    if event.usage is None or rates is None:
        return event
    _, cost, status = priced(rates, event.usage)
    kinds = () if cost is None else ((RETRIEVAL, cost),)
    return replace(event, cost_nano_usd=cost, cost_by_kind=kinds, cost_status=status, price_source=rates.source)
