"""Sums of closed attempts by UTC day and names: what reports and dashboards read, however many rows there are."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from gateway.core.clock import utc_day
from gateway.core.event import UsageEvent

NAMES = (
    "day",
    "organisation",
    "team",
    "key_id",
    "endpoint",
    "path",
    "upstream",
    "model",
    "line",
    "rule",
    "collections",
    "service_tier",
)
SUMS = (
    "calls",
    "attempts",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "context_tokens",
    "cost_nano_usd",
    "input_nano_usd",
    "cached_nano_usd",
    "output_nano_usd",
    "other_nano_usd",
    "adjusted_nano_usd",
    "unpriced",
    "priced_later",
    "estimated",
)
# Kinds of cost that have a column of their own; retrieval and training are `other`.
METERS = {"input": "input_nano_usd", "cached": "cached_nano_usd", "output": "output_nano_usd"}
METERS["reasoning"] = "output_nano_usd"


def rolled_up(events: Iterable[UsageEvent]) -> list[dict[str, Any]]:
    """One row of sums for each day and set of names, as `usage_rollups` has them."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for event in events:
        names = names_of(event)
        row = rows.get(names)
        if row is None:
            row = rows[names] = empty(names)
        _add(row, event)
    return list(rows.values())


def merged(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same sums with one row for each id."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        kept = found.setdefault(row["id"], row)
        if kept is not row:
            for name in SUMS:
                kept[name] += row[name]
    return list(found.values())


def names_of(event: UsageEvent) -> tuple[str, ...]:
    """What a row of sums is found by, in the order of NAMES."""
    return (
        utc_day(event.at).isoformat(),
        event.organisation,
        event.team,
        event.key_id,
        event.endpoint,
        event.path,
        event.upstream,
        plain(event.model),
        event.line or "",
        event.rule,
        ",".join(event.collections),
        event.usage.service_tier if event.usage is not None else "",
    )


def empty(names: tuple[str, ...]) -> dict[str, Any]:
    """A row of sums with nothing in it. Its id is a hash: a key of twelve texts would be most of the index."""
    digest = blake2b("\x1f".join(names).encode(), digest_size=16).hexdigest()
    return {"id": digest, **dict(zip(NAMES, names, strict=True)), **dict.fromkeys(SUMS, 0)}


def plain(told: str) -> str:
    """Text that a database takes. PostgreSQL's has no NUL: one row with it would hold up every row behind it."""
    return told.replace("\0", "\ufffd") if "\0" in told else told


def _add(row: dict[str, Any], event: UsageEvent) -> None:
    row["calls"] += event.last
    row["attempts"] += event.attempt > 0
    row["context_tokens"] += event.context_tokens
    row["cost_nano_usd"] += event.cost_nano_usd or 0
    row["unpriced"] += event.cost_status == "unpriced"
    for kind, nano in event.cost_by_kind:
        row[METERS.get(kind, "other_nano_usd")] += nano
    usage = event.usage
    if usage is None:
        return
    row["input_tokens"] += usage.input_tokens
    row["cached_tokens"] += usage.cached_tokens
    row["cache_write_tokens"] += usage.cache_write_tokens
    row["output_tokens"] += usage.output_tokens
    row["reasoning_tokens"] += usage.reasoning_tokens
    row["estimated"] += usage.source == "estimated"
