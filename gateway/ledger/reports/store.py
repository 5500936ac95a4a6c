"""Sums of the books, corrections among them, from the smallest tables that have them."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import JSON, Table, case, cast, func, literal_column, select
from sqlalchemy.sql import Select

from gateway.core.clock import DAY_SECONDS, utc_day
from gateway.core.values import Value
from gateway.db.engine import Database
from gateway.ledger.rollup import NAMES
from gateway.ledger.tables import AdjustmentRow, RollupRow, UsageEventRow

_EVENTS: Table = UsageEventRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_ROLLUPS: Table = RollupRow.__table__  # type: ignore[attr-defined]  # the same
_ADJUSTMENTS: Table = AdjustmentRow.__table__  # type: ignore[attr-defined]  # the same

# `metadata.KEY` and the two others that the sums by day do not have.
METADATA = "metadata."
ROWS_ONLY = frozenset({"asked_model"})
GROUPS = (*NAMES, "month", *sorted(ROWS_ONLY))
ROWS_AT_ONCE = 2_000
COUNTS = (
    "calls",
    "attempts",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "context_tokens",
)


class Amounts(Value, frozen=True):
    """Sums over rows with their corrections. A cost that is partly unknown says so by `unpriced`; it is never 0.

    calls: calls that ended. attempts: tries that were sent; a call refused here has none. Token counts are the
    provider's; cached is a part of input and reasoning a part of output. cost_nano_usd: of rows that have a price,
    the first one or a later one.
    """

    group: dict[str, str | None]
    calls: int
    attempts: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    context_tokens: int
    cost_nano_usd: int
    unpriced: int
    estimated: int


class ReportStore:
    """Reads the books. Whole UTC days come from the sums by day, parts of days from the rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(
        self,
        by: Sequence[str],
        since: float | None = None,
        until: float | None = None,
        team: str | None = None,
    ) -> list[Amounts]:
        """Sums by these groups (GROUPS and `metadata.KEY`), dearest first. since is included, until is not.

        Groups that the sums by day do not have are added up from the rows, as far as these are kept.
        """
        totals: dict[tuple[Any, ...], list[int]] = {}
        async with self._database.session() as session:
            for query in self._queries(by, since, until, team):
                for row in (await session.execute(query)).all():
                    sums = totals.setdefault(tuple(row[: len(by)]), [0] * (len(row) - len(by)))
                    for place, value in enumerate(row[len(by) :]):
                        sums[place] += int(value or 0)
        found = [Amounts(_named(by, group), *sums) for group, sums in totals.items() if sums[0] or sums[1]]
        return sorted(found, key=lambda one: (-one.cost_nano_usd, [str(value) for value in one.group.values()]))

    async def rolled_up(
        self, since: str | None = None, until: str | None = None, team: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The sums by day and names themselves, from a day (2026-11-01) to before another, in order of the days."""
        rolled = _ROLLUPS.c
        query = select(_ROLLUPS).order_by(rolled.day, rolled.id).limit(ROWS_AT_ONCE)
        query = query if since is None else query.where(rolled.day >= since)
        query = query if until is None else query.where(rolled.day < until)
        query = query if team is None else query.where(rolled.team == team)
        last: tuple[str, str] | None = None
        while True:
            after = query
            if last is not None:
                after = query.where(rolled.day >= last[0], (rolled.day > last[0]) | (rolled.id > last[1]))
            async with self._database.session() as session:
                rows = (await session.execute(after)).mappings().all()
            for row in rows:
                yield dict(row)
            if len(rows) < ROWS_AT_ONCE:
                return
            last = (rows[-1]["day"], rows[-1]["id"])

    async def upstream_seconds(self, model: str, since: float, until: float, most: int = 2_000) -> list[float]:
        """How long the newest good replies of a model took at its upstream."""
        rows = _EVENTS.c
        where = (rows.model == model, rows.outcome == "ok", rows.attempt > 0, rows.at >= since, rows.at < until)
        query = select(rows.upstream_seconds).where(*where).order_by(rows.at.desc()).limit(most)
        async with self._database.session() as session:
            return [float(seconds) for seconds in await session.scalars(query)]

    def _queries(
        self, by: Sequence[str], since: float | None, until: float | None, team: str | None
    ) -> list[Select[Any]]:
        if any(name in ROWS_ONLY or name.startswith(METADATA) for name in by):
            return [self._of_rows(by, since, until, team)]
        # The first midnight at or after `since`, the last one at or before `until`.
        first = None if since is None else -(-since // DAY_SECONDS) * DAY_SECONDS
        last = None if until is None else until // DAY_SECONDS * DAY_SECONDS
        if first is not None and last is not None and first >= last:
            return [self._of_rows(by, since, until, team)]
        found = [self._of_days(by, first, last, team)]
        if since is not None and since != first:
            found.append(self._of_rows(by, since, first, team))
        if until is not None and until != last:
            found.append(self._of_rows(by, last, until, team))
        return found

    def _of_days(self, by: Sequence[str], first: float | None, last: float | None, team: str | None) -> Select[Any]:
        rolled = _ROLLUPS.c
        groups = [func.substr(rolled.day, 1, 7) if name == "month" else rolled[name] for name in by]
        query = select(
            *(column.label(f"g{place}") for place, column in enumerate(groups)),
            *(func.sum(rolled[name]) for name in COUNTS),
            func.sum(rolled.cost_nano_usd + rolled.adjusted_nano_usd),
            func.sum(rolled.unpriced - rolled.priced_later),
            func.sum(rolled.estimated),
        )
        if first is not None:
            query = query.where(rolled.day >= utc_day(first).isoformat())
        if last is not None:
            query = query.where(rolled.day < utc_day(last).isoformat())
        if team is not None:
            query = query.where(rolled.team == team)
        return query.group_by(*_labels(by))

    def _of_rows(self, by: Sequence[str], since: float | None, until: float | None, team: str | None) -> Select[Any]:
        rows, made = _EVENTS.c, _ADJUSTMENTS.c
        corrected = select(
            made.event_id,
            func.sum(made.delta_nano_usd).label("delta"),
            func.max(case((made.gives_price, 1), else_=0)).label("priced"),
        ).group_by(made.event_id)
        where = []
        for bound, at in ((rows, rows.at), (made, made.event_at)):
            limits = [] if since is None else [at >= since]
            limits += [] if until is None else [at < until]
            limits += [] if team is None else [bound.team == team]
            where.append(limits)
        correction = corrected.where(*where[1]).subquery()
        groups = [self._group(name) for name in by]
        query = select(
            *(column.label(f"g{place}") for place, column in enumerate(groups)),
            func.sum(_one_if(rows.last)),
            func.sum(_one_if(rows.attempt > 0)),
            *(func.sum(func.coalesce(rows[name], 0)) for name in COUNTS[2:]),
            func.sum(func.coalesce(rows.cost_nano_usd, 0) + func.coalesce(correction.c.delta, 0)),
            func.sum(_one_if(rows.cost_status == "unpriced") - func.coalesce(correction.c.priced, 0)),
            func.sum(_one_if(rows.usage_source == "estimated")),
        )
        joined = _EVENTS.outerjoin(correction, correction.c.event_id == rows.id)
        return query.select_from(joined).where(*where[0]).group_by(*_labels(by))

    def _group(self, name: str) -> Any:
        postgres = self._database.dialect == "postgresql"
        if name.startswith(METADATA):
            whole = cast(_EVENTS.c.metadata, JSON) if postgres else _EVENTS.c.metadata
            return whole.op("->>")(name.removeprefix(METADATA))
        if name == "line":
            return func.coalesce(_EVENTS.c.line, "")
        if name not in {"day", "month"}:
            return _EVENTS.c[name]
        if postgres:
            form = "YYYY-MM-DD" if name == "day" else "YYYY-MM"
            return func.to_char(func.timezone("UTC", func.to_timestamp(_EVENTS.c.at)), form)
        return func.strftime("%Y-%m-%d" if name == "day" else "%Y-%m", _EVENTS.c.at, "unixepoch")


def is_group(name: str) -> bool:
    """Whether sums can be made by it: one of GROUPS, or `metadata.KEY`."""
    return name in GROUPS or (name.startswith(METADATA) and len(name) > len(METADATA))


def _labels(by: Sequence[str]) -> list[Any]:
    # By their names and not again in full: with a parameter in it, PostgreSQL takes the second for another expression.
    return [literal_column(f"g{place}") for place in range(len(by))]


def _one_if(condition: Any) -> Any:
    return case((condition, 1), else_=0)


def _named(by: Sequence[str], group: tuple[Any, ...]) -> dict[str, str | None]:
    named = {name: None if value is None else str(value) for name, value in zip(by, group, strict=True)}
    if named.get("line") == "":
        named["line"] = None
    return named
