"""Sums over the rows alone, which the sums by day are held against: written apart from the reports on purpose."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, case, func, select

from gateway.ledger.reports.store import Amounts
from gateway.ledger.store import LedgerStore
from gateway.ledger.tables import UsageEventRow

_EVENTS: Table = UsageEventRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
GROUPS = ("team", "key_id", "path", "model", "line", "rule", "upstream", "endpoint", "collections", "day")


class SummedStore(LedgerStore):
    """The books, with sums of their rows."""

    async def sums(
        self,
        by: Sequence[str],
        since: float | None = None,
        until: float | None = None,
        team: str | None = None,
    ) -> list[Amounts]:
        """Sums by the given groups (see GROUPS), dearest first. since is included, until is not."""
        columns = [self._group(name).label(f"g{place}") for place, name in enumerate(by)]
        rows = _EVENTS.c
        query = select(
            *columns,
            func.coalesce(func.sum(_one_if(rows.last)), 0),
            func.coalesce(func.sum(_one_if(rows.attempt > 0)), 0),
            *(func.coalesce(func.sum(column), 0) for column in _SUMMED),
            func.coalesce(func.sum(_one_if(rows.cost_status == "unpriced")), 0),
            func.coalesce(func.sum(_one_if(rows.usage_source == "estimated")), 0),
        )
        if since is not None:
            query = query.where(rows.at >= since)
        if until is not None:
            query = query.where(rows.at < until)
        if team is not None:
            query = query.where(rows.team == team)
        async with self._database.session() as session:
            found = (await session.execute(query.group_by(*columns))).all()
        sums = [_amounts(by, row) for row in found if row[len(by)] or row[len(by) + 1]]
        return sorted(sums, key=lambda amounts: (-amounts.cost_nano_usd, [str(g) for g in amounts.group.values()]))

    def _group(self, name: str) -> Any:
        if name != "day":
            return _EVENTS.c[name]
        if self._database.dialect == "postgresql":
            return func.to_char(func.timezone("UTC", func.to_timestamp(_EVENTS.c.at)), "YYYY-MM-DD")
        return func.strftime("%Y-%m-%d", _EVENTS.c.at, "unixepoch")


_SUMMED = tuple(
    _EVENTS.c[name]
    for name in (
        "input_tokens",
        "cached_tokens",
        "output_tokens",
        "reasoning_tokens",
        "context_tokens",
        "cost_nano_usd",
    )
)


def _one_if(condition: Any) -> Any:
    return case((condition, 1), else_=0)


def _amounts(by: Sequence[str], row: Any) -> Amounts:
    count = len(by)
    group = {name: None if value is None else str(value) for name, value in zip(by, row[:count], strict=True)}
    return Amounts(group, *(int(value) for value in row[count:]))
