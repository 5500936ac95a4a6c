"""Corrections in the database, with the sums that they change, in one transaction."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Table, case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.clock import utc_day
from gateway.core.errors import InvalidRequest, NotFound
from gateway.core.ids import new_id
from gateway.core.money import MAX_NANO, usd_text
from gateway.core.usage import Usage
from gateway.core.values import Value
from gateway.db.bulk import add_up, insert_new
from gateway.db.engine import Database
from gateway.db.store import bump, note_change
from gateway.ledger.adjustments.reprice import (
    Changes,
    Correction,
    PricedRow,
    RatesOf,
    TeamChange,
    correction_id,
    corrections,
)
from gateway.ledger.leases.store import LeaseStore
from gateway.ledger.rollup import NAMES, SUMS, empty
from gateway.ledger.rows import TOKENS
from gateway.ledger.tables import AdjustmentRow, RollupRow, UsageEventRow

_EVENTS: Table = UsageEventRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_ADJUSTMENTS: Table = AdjustmentRow.__table__  # type: ignore[attr-defined]  # the same
_ROLLUPS: Table = RollupRow.__table__  # type: ignore[attr-defined]  # the same

# Rows of one transaction: some 100 ms, during which another repricing waits.
ROWS_AT_ONCE = 500
MAX_REASON = 1_000
REPRICE = "reprice"
CORRECT = "correct"


class Span(Value, frozen=True):
    """Which rows: from `since` (Unix time) to before `until`, of one team, of one model; None is all."""

    since: float | None = None
    until: float | None = None
    team: str | None = None
    model: str | None = None


class Repricing(Value, frozen=True):
    """What a repricing did, or in a dry run would do. run: its name in the adjustments, '' for a dry run."""

    run: str
    rows: int
    changed: int
    delta_nano_usd: int
    delta_usd: str
    lines: tuple[TeamChange, ...]


class Adjustment(Value, frozen=True):
    """One correction as it stands in the books. Times are Unix seconds."""

    id: str
    run: str
    event_id: str
    at: float
    team: str
    delta_nano_usd: int
    gives_price: bool
    price_source: str
    actor: str
    reason: str


class Adjustments:
    """Adds corrections; the budgets that a row was charged to are charged with its correction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases = LeaseStore(database)

    async def reprice(
        self,
        rates_of: RatesOf,
        span: Span,
        actor: str,
        reason: str = "repriced",
        *,
        is_dry_run: bool = False,
        progress: Callable[[int, int], None] = lambda _rows, _changed: None,
    ) -> Repricing:
        """Brings rows to these rates, batch by batch; what is done stays done when it is stopped.

        Done twice it changes nothing the second time. progress: told rows seen and rows changed after each batch.
        Raises InvalidRequest without a reason.
        """
        _require_reason(reason)
        run = "" if is_dry_run else new_id(REPRICE)
        changes = Changes()
        noted = False
        after: tuple[float, str] | None = None
        while True:
            async with self._database.session() as session:
                if not is_dry_run:
                    # The lock of its row, and SQLite's one write lock: of two repricings the second waits here.
                    await bump(session, "adjustments")
                rows = await self._rows(session, _where(span, after))
                found = corrections(rows, rates_of, run, changes)
                if not is_dry_run:
                    if found and not noted:
                        # With the first of it: who stops a repricing leaves money moved, and must leave a name.
                        note_change(session, actor, "usage.reprice", f"run:{run}", reason=reason)
                        noted = True
                    await self._add(session, found, actor, reason)
            progress(changes.rows, changes.changed)
            if len(rows) < ROWS_AT_ONCE:
                break
            after = (rows[-1].at, rows[-1].id)
        lines = changes.lines()
        delta = sum(line.after_nano_usd - line.before_nano_usd for line in lines)
        if changes.changed and not is_dry_run:
            async with self._database.session() as session:
                told = {"rows": changes.changed, "usd": usd_text(delta), "reason": reason}
                note_change(session, actor, "usage.repriced", f"run:{run}", **told)
        return Repricing(run, changes.rows, changes.changed, delta, usd_text(delta), tuple(lines))

    async def adjust(self, event_id: str, delta_nano_usd: int, reason: str, actor: str) -> Adjustment:
        """Corrects one row by hand. A row without a price has one then: this.

        Raises NotFound for a row that is not there, InvalidRequest without a reason or for no amount.
        """
        _require_reason(reason)
        if not 0 < abs(delta_nano_usd) < MAX_NANO:
            raise InvalidRequest("The correction is 0.00 USD; it must be an amount, negative to give back.")
        run = new_id(CORRECT)
        async with self._database.session() as session:
            await bump(session, "adjustments")
            rows = await self._rows(session, (_EVENTS.c.id == event_id,))
            if not rows:
                raise NotFound(f"There is no usage row {event_id!r}; an id looks like call_0193c5.1.")
            row = rows[0]
            gives = row.now_nano_usd is None and not row.by_hand and not row.is_free
            made = Correction(correction_id(run, row.id), run, row, delta_nano_usd, gives, "")
            await self._add(session, [made], actor, reason.strip())
            note_change(
                session, actor, "usage.adjust", f"usage:{event_id}", usd=usd_text(delta_nano_usd), reason=reason
            )
        return (await self.of(event_id))[-1]

    async def of(self, event_id: str) -> list[Adjustment]:
        """The corrections of one row, oldest first."""
        query = select(_ADJUSTMENTS).where(_ADJUSTMENTS.c.event_id == event_id)
        async with self._database.session() as session:
            found = (await session.execute(query.order_by(_ADJUSTMENTS.c.at, _ADJUSTMENTS.c.id))).mappings().all()
        return [Adjustment(**{name: row[name] for name in Adjustment.__struct_fields__}) for row in found]

    async def _rows(self, session: AsyncSession, where: Sequence[Any]) -> list[PricedRow]:
        query = select(_EVENTS).where(*where).order_by(_EVENTS.c.at, _EVENTS.c.id).limit(ROWS_AT_ONCE)
        rows = (await session.execute(query)).mappings().all()
        before = _ADJUSTMENTS.c
        is_repriced = before.run.like(f"{REPRICE}_%")
        query = select(
            before.event_id,
            func.sum(case((is_repriced, before.delta_nano_usd), else_=0)),
            func.sum(case((is_repriced & before.gives_price, 1), else_=0)),
            func.sum(case((~is_repriced & before.gives_price, 1), else_=0)),
        ).where(before.event_id.in_([row["id"] for row in rows]))
        sums = {row[0]: row[1:] for row in (await session.execute(query.group_by(before.event_id))).all()}
        return [_priced_row(row, *sums.get(row["id"], (0, 0, 0))) for row in rows]

    async def _add(self, session: AsyncSession, found: Sequence[Correction], actor: str, reason: str) -> None:
        now = time.time()
        rows = [_adjustment_row(correction, now, actor, reason) for correction in found]
        added = await insert_new(session, _ADJUSTMENTS, rows)
        fresh = [correction for correction in found if correction.id in added]
        sums: dict[tuple[str, ...], dict[str, Any]] = {}
        for correction in fresh:
            names = correction.row.names
            line = sums.setdefault(names, empty(names))
            line["adjusted_nano_usd"] += correction.delta_nano_usd
            line["priced_later"] += correction.gives_price
        await add_up(session, _ROLLUPS, list(sums.values()), ("id",), SUMS)
        pools: dict[str, int] = {}
        for correction in fresh:
            for pool in correction.row.pools:
                pools[pool] = pools.get(pool, 0) + correction.delta_nano_usd
        await self._leases.charge_pools(session, pools)


def _require_reason(reason: str) -> None:
    length = len(reason.strip())
    if not 0 < length <= MAX_REASON:
        raise InvalidRequest(f"reason has {length} characters; it must have 1 to {MAX_REASON}.", param="reason")


def _where(span: Span, after: tuple[float, str] | None) -> list[Any]:
    rows = _EVENTS.c
    # What training costs is no matter of input and output rates.
    found: list[Any] = [rows.attempt > 0, rows.endpoint != "training"]
    if after is not None:
        # The first term is for the index; the second for rows of one moment.
        found += [rows.at >= after[0], (rows.at > after[0]) | (rows.id > after[1])]
    if span.since is not None:
        found.append(rows.at >= span.since)
    if span.until is not None:
        found.append(rows.at < span.until)
    if span.team is not None:
        found.append(rows.team == span.team)
    if span.model is not None:
        found.append(rows.model == span.model)
    return found


def _priced_row(row: Any, repriced: int, gave: int, by_hand: int) -> PricedRow:
    usage = None
    if row["input_tokens"] is not None:
        counts: dict[str, Any] = {name: row[name] or 0 for name in TOKENS}
        usage = Usage(**counts, service_tier=row["service_tier"])
    day = utc_day(row["at"]).isoformat()
    names = tuple(day if name == "day" else row[name] or "" for name in NAMES)
    return PricedRow(
        id=row["id"],
        at=row["at"],
        team=row["team"],
        model=row["model"],
        usage=usage,
        is_free=row["cost_status"] == "free",
        cost_nano_usd=row["cost_nano_usd"],
        repriced_nano_usd=int(repriced or 0),
        has_price=bool(gave),
        by_hand=bool(by_hand),
        names=names,
        pools=tuple(pool for pool in row["pools"].split(",") if pool),
    )


def _adjustment_row(correction: Correction, now: float, actor: str, reason: str) -> dict[str, Any]:
    return {
        "id": correction.id,
        "run": correction.run,
        "event_id": correction.row.id,
        "event_at": correction.row.at,
        "at": now,
        "team": correction.row.team,
        "delta_nano_usd": correction.delta_nano_usd,
        "gives_price": correction.gives_price,
        "price_source": correction.price_source,
        "actor": actor,
        "reason": reason,
    }
