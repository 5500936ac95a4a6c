"""Reports and the sums by day as CSV text."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import date
from typing import Any, Literal

from gateway.core.errors import InvalidRequest
from gateway.core.money import usd_text
from gateway.ledger.report import UsageReport
from gateway.ledger.reports.focus import COLUMNS, focus_rows
from gateway.ledger.reports.store import ReportStore
from gateway.ledger.rollup import NAMES, SUMS

Format = Literal["csv", "focus"]
KINDS = ("input", "cached", "output", "reasoning", "retrieval")
REPORT = (
    "calls",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "context_tokens",
    "cost_nano_usd",
    "cost_usd",
    "unpriced",
    "estimated",
)


def report_csv(report: UsageReport) -> str:
    """A report's lines with their groups in front; the total is left to who reads it."""
    columns = (*report.by, *REPORT[:5], *(f"{kind}_tokens" for kind in KINDS), *REPORT[5:])
    rows = (
        {
            **line.group,
            **{name: getattr(line, name) for name in REPORT},
            **{f"{kind}_tokens": line.tokens[kind] for kind in KINDS},
        }
        for line in report.lines
    )
    return _csv(columns, rows, is_headed=True)


async def export(
    store: ReportStore, form: Format, since: str | None, until: str | None, today: date, team: str | None = None
) -> AsyncIterator[str]:
    """The sums by day, piece by piece: as they are (`csv`), or as a FOCUS 1.2 dataset (`focus`).

    since, until: UTC days; until is not included. Raises InvalidRequest for what is no day.
    """
    for name, day in (("since", since), ("until", until)):
        _day(day, name)
    columns = COLUMNS if form == "focus" else (*NAMES, *SUMS, "cost_usd")
    yield _csv(columns, (), is_headed=True)
    async for rolled in store.rolled_up(since, until, team):
        if form == "focus":
            yield _csv(columns, focus_rows(rolled, today), is_headed=False)
        else:
            usd = usd_text(rolled["cost_nano_usd"] + rolled["adjusted_nano_usd"])
            yield _csv(
                columns, [{**{name: rolled[name] for name in (*NAMES, *SUMS)}, "cost_usd": usd}], is_headed=False
            )


def _day(written: str | None, name: str) -> None:
    if written is None:
        return
    try:
        is_day = date.fromisoformat(written).isoformat() == written
    except ValueError:
        is_day = False
    if not is_day:
        raise InvalidRequest(f"{name} is {written!r}; it must be a UTC day such as 2026-11-01.", param=name)


def _csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]], *, is_headed: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    if is_headed:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
