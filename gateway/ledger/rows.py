"""Closed attempts and decisions as rows of the books."""

from typing import Any

import msgspec

from gateway.core.event import UsageEvent
from gateway.core.usage import Usage
from gateway.ledger.records import DecisionRecord, Grounded
from gateway.ledger.rollup import plain

TOKENS = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "image_input_tokens",
    "image_output_tokens",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
)


def event_row(event: UsageEvent) -> dict[str, Any]:
    """A row of `usage_events`. What is not known is None, never 0."""
    usage = event.usage
    return {
        "id": event.id,
        "call_id": event.call_id,
        "attempt": event.attempt,
        "last": event.last,
        "at": event.at,
        "team": event.team,
        "organisation": event.organisation,
        "key_id": event.key_id,
        "endpoint": event.endpoint,
        "asked_model": plain(event.asked_model),
        "path": event.path,
        "upstream": event.upstream,
        "model": plain(event.model),
        "line": event.line,
        "rule": event.rule,
        "collections": ",".join(event.collections),
        "outcome": event.outcome,
        "status": event.status,
        "error": event.error,
        "stream": event.stream,
        **tokens(usage),
        "service_tier": usage.service_tier if usage else "",
        "context_tokens": event.context_tokens,
        "usage_source": usage.source if usage else None,
        "usage_raw": plain(usage.raw) if usage and usage.raw else None,
        "cost_nano_usd": event.cost_nano_usd,
        "cost_by_kind": msgspec.json.encode(dict(event.cost_by_kind)).decode(),
        "cost_status": event.cost_status,
        "price_source": event.price_source,
        "seconds": event.seconds,
        "first_byte_seconds": event.first_byte_seconds,
        "upstream_seconds": event.upstream_seconds,
        # Before it is JSON, where a NUL is six harmless characters until somebody asks PostgreSQL for the value.
        "metadata": msgspec.json.encode({plain(key): plain(value) for key, value in event.metadata}).decode(),
        "pools": ",".join(event.pools),
    }


def tokens(usage: Usage | None) -> dict[str, int | None]:
    """The token columns."""
    return {name: getattr(usage, name) if usage is not None else None for name in TOKENS}


def decision_row(record: DecisionRecord) -> dict[str, Any]:
    """A row of `decisions`."""
    return {
        "id": record.id,
        "call_id": record.call_id,
        "at": record.at,
        "team": record.team,
        "rule": record.rule,
        "path": record.path,
        "policy_hash": record.policy_hash,
        "record": msgspec.json.encode(record).decode(),
    }


def source_rows(one: Grounded) -> list[dict[str, Any]]:
    """Rows of `answer_sources`: one for each document in the prompt of an attempt."""
    event = one.event
    return [
        {
            "id": f"{event.id}.{number}",
            "at": event.at,
            "call_id": event.call_id,
            "team": event.team,
            "model": plain(event.model),
            "collection": source.collection,
            "document": plain(source.document),
            "version": plain(source.version),
            "cited": source.cited,
        }
        for number, source in enumerate(one.grounds.sources, 1)
    ]


def gap_rows(one: Grounded) -> list[dict[str, Any]]:
    """The row of `knowledge_gaps` of a call: the same from each of its attempts."""
    gap = one.grounds.gap
    if gap is None:
        return []
    return [
        {
            "id": one.event.call_id,
            "at": gap.at,
            "team": one.event.team,
            "collections": ",".join(gap.collections),
            "kind": gap.kind,
            "outcome": gap.outcome,
            "question": plain(gap.question),
            "score": gap.score,
        }
    ]
