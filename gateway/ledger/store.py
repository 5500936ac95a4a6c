"""The books in the database."""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.event import UsageEvent
from gateway.db.bulk import add_up, insert_new
from gateway.db.engine import Database
from gateway.ledger.leases.store import LeaseStore
from gateway.ledger.records import DecisionRecord, Grounded
from gateway.ledger.rollup import SUMS, empty, merged, names_of, rolled_up
from gateway.ledger.rows import decision_row, event_row, gap_rows, source_rows
from gateway.ledger.tables import (
    AdjustmentRow,
    AnswerSourceRow,
    DecisionRow,
    JournalOffsetRow,
    KnowledgeGapRow,
    PolicyVersionRow,
    RollupRow,
    UsageEventRow,
)

_EVENTS: Table = UsageEventRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_DECISIONS: Table = DecisionRow.__table__  # type: ignore[attr-defined]  # the same
_ADJUSTMENTS: Table = AdjustmentRow.__table__  # type: ignore[attr-defined]  # the same
_ROLLUPS: Table = RollupRow.__table__  # type: ignore[attr-defined]  # the same
_SOURCES: Table = AnswerSourceRow.__table__  # type: ignore[attr-defined]  # the same
_GAPS: Table = KnowledgeGapRow.__table__  # type: ignore[attr-defined]  # the same
_OFFSETS: Table = JournalOffsetRow.__table__  # type: ignore[attr-defined]  # the same
_POLICIES: Table = PolicyVersionRow.__table__  # type: ignore[attr-defined]  # the same

ROWS_AT_ONCE = 500


class LedgerStore:
    """Adds rows. Adding the same row again changes nothing. leases: where budgets are charged."""

    def __init__(self, database: Database, leases: LeaseStore | None = None) -> None:
        self._database = database
        self._leases = leases

    async def ship(
        self,
        events: Sequence[UsageEvent],
        decisions: Sequence[DecisionRecord],
        offsets: Mapping[str, int],
        *,
        replica: str = "",
        ended: Sequence[str] = (),
        grounded: Sequence[Grounded] = (),
    ) -> None:
        """Adds events with their sums, decisions, and what answers stood on, charges budgets, and moves the offsets.

        All in one transaction. What is there already changes nothing: only rows that were new are added to sums and
        budgets. replica: the process whose calls these are. ended: attempts whose intents need not be kept in the
        database any more.
        """
        async with self._database.session() as session:
            # First, also because it takes SQLite's write lock before anything is looked up.
            for segment, offset in (offsets or {"": 0}).items():
                insert = self._database.insert(_OFFSETS).values(segment=segment, offset=offset)
                moved = insert.on_conflict_do_update(index_elements=["segment"], set_={"offset": offset})
                await session.execute(moved)
            fresh: list[UsageEvent] = []
            late: list[dict[str, Any]] = []
            for start in range(0, len(events), ROWS_AT_ONCE):
                part = events[start : start + ROWS_AT_ONCE]
                fresh += await self._add(session, part)
                late += await self._late(session, part, {event.id for event in fresh})
            # Once for the whole transaction: sums that were locked part by part would be locked out of order.
            sums = [*rolled_up(fresh), *(row["sums"] for row in late)]
            await add_up(session, _ROLLUPS, merged(sums), ("id",), SUMS)
            if self._leases is not None:
                corrections = [(row["pools"], row["delta"]) for row in late]
                await self._leases.charge(session, fresh, replica, corrections)
            await insert_new(session, _DECISIONS, [decision_row(record) for record in decisions])
            if grounded:
                await insert_new(session, _SOURCES, [row for one in grounded for row in source_rows(one)])
                await insert_new(session, _GAPS, [row for one in grounded for row in gap_rows(one)])
            if self._leases is not None and ended:
                await self._leases.settle_intents(session, ended)

    async def _add(self, session: AsyncSession, events: Sequence[UsageEvent]) -> list[UsageEvent]:
        """Adds rows; gives those that were new. A row that stands twice in what is shipped is one row."""
        distinct = {event.id: event for event in events}
        added = await insert_new(session, _EVENTS, [event_row(event) for event in distinct.values()])
        return [event for event in distinct.values() if event.id in added]

    async def _late(
        self, session: AsyncSession, events: Sequence[UsageEvent], fresh: Collection[str]
    ) -> list[dict[str, Any]]:
        """Corrects rows that were booked as interrupted by another replica, of calls whose own end has come since.

        Rows are only added to: their cost is corrected, their tokens stay the estimate. Gives what sums and budgets
        must hear of it.
        """
        own = {event.id: event for event in events if event.id not in fresh and event.outcome != "interrupted"}
        if not own:
            return []
        rows = _EVENTS.c
        query = select(rows.id, rows.cost_nano_usd, rows.pools).where(rows.id.in_(own), rows.outcome == "interrupted")
        found = (await session.execute(query)).all()
        made: list[dict[str, Any]] = []
        for row in found:
            event, before = own[row.id], row.cost_nano_usd
            delta = (event.cost_nano_usd or 0) - (before or 0)
            made.append(
                {
                    "id": f"late:{event.id}", "run": "late", "event_id": event.id, "event_at": event.at,
                    "at": time.time(), "team": event.team, "delta_nano_usd": delta,
                    "gives_price": before is None and event.cost_nano_usd is not None,
                    "price_source": event.price_source, "actor": "ledger",
                    "reason": "its own end came after it was booked as interrupted",
                }
            )  # fmt: skip
        added = await insert_new(session, _ADJUSTMENTS, made)
        told = []
        for row, correction in zip(found, made, strict=True):
            if correction["id"] in added:
                # In the sums of the row as it was booked, whose service tier nobody knew.
                sums = empty(names_of(interrupted(own[row.id])))
                sums["adjusted_nano_usd"] = correction["delta_nano_usd"]
                sums["priced_later"] = 1 if correction["gives_price"] else 0
                pools = [pool for pool in row.pools.split(",") if pool]
                told.append({"sums": sums, "pools": pools, "delta": correction["delta_nano_usd"]})
        return told

    async def offset(self, segment: str) -> int:
        """How far a segment is shipped."""
        async with self._database.session() as session:
            found = await session.execute(select(_OFFSETS.c.offset).where(_OFFSETS.c.segment == segment))
            return int(found.scalar_one_or_none() or 0)

    async def forget(self, segments: Sequence[str]) -> None:
        """Drops the offsets of segments whose files are gone."""
        async with self._database.session() as session:
            await session.execute(_OFFSETS.delete().where(_OFFSETS.c.segment.in_(segments)))

    async def shadows_since(self, start: float) -> dict[str, int]:
        """Nano-dollars by rule of all copies of calls since a Unix time."""
        query = select(_EVENTS.c.rule, func.sum(_EVENTS.c.cost_nano_usd))
        query = query.where(_EVENTS.c.at >= start, _EVENTS.c.endpoint == "shadow").group_by(_EVENTS.c.rule)
        async with self._database.session() as session:
            return {rule: int(cost or 0) for rule, cost in (await session.execute(query)).all()}

    async def decision(self, decision_id: str) -> DecisionRecord | None:
        """A recorded decision, by its own id or its call's; None when there is none."""
        query = select(_DECISIONS.c.record).where(
            (_DECISIONS.c.id == decision_id) | (_DECISIONS.c.call_id == decision_id)
        )
        async with self._database.session() as session:
            found = (await session.execute(query.limit(1))).scalar_one_or_none()
        return None if found is None else msgspec.json.decode(found, type=DecisionRecord)

    async def keep_policy(self, policy_hash: str, files: Mapping[str, bytes]) -> None:
        """Keeps a policy's files under their hash, so that its decisions can be explained later."""
        texts = {name: text.decode("utf-8", "replace") for name, text in files.items()}
        row = {
            "hash": policy_hash,
            "first_live_at": time.time(),
            "files": msgspec.json.encode(texts).decode(),
        }
        async with self._database.session() as session:
            await session.execute(
                self._database.insert(_POLICIES).on_conflict_do_nothing(index_elements=["hash"]), [row]
            )

    async def policy_files(self, policy_hash: str) -> dict[str, bytes] | None:
        """The files of a policy that was live once; None for an unknown hash."""
        query = select(_POLICIES.c.files).where(_POLICIES.c.hash == policy_hash)
        async with self._database.session() as session:
            found = (await session.execute(query)).scalar_one_or_none()
        if found is None:
            return None
        return {name: text.encode() for name, text in msgspec.json.decode(found, type=dict[str, str]).items()}


def interrupted(event: UsageEvent) -> UsageEvent:
    """The event by the names that its row has which was booked without its end."""
    usage = None if event.usage is None else msgspec.structs.replace(event.usage, service_tier="")
    return msgspec.structs.replace(event, usage=usage)
