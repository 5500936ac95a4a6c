from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.usage import Usage
from gateway.ledger.report import usage_report
from gateway.ledger.reports.store import ReportStore
from gateway.ledger.store import LedgerStore
from tests.fakes.calls import closed
from tests.fakes.database import database


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReportStore]:
    async with database(tmp_path) as opened:
        made = LedgerStore(opened)
        usage = Usage(10, 5, cached_tokens=4, reasoning_tokens=2)
        await made.ship([closed(1, usage=usage), closed(2, team="sales", cost_nano_usd=1)], [], {})
        yield ReportStore(opened)


async def test_kinds_are_disjoint_as_in_the_metrics(store: ReportStore) -> None:
    report = await usage_report(store, ["team"])
    support = report.lines[0]
    assert (support.group, support.cost_usd) == ({"team": "support"}, "0.000012")
    assert support.tokens == {"input": 6, "cached": 4, "output": 3, "reasoning": 2, "retrieval": 0}
    assert sum(support.tokens.values()) == support.total_tokens == 15
    assert report.total.cost_nano_usd == sum(line.cost_nano_usd for line in report.lines) == 12_001


async def test_a_time_without_a_zone_is_utc(store: ReportStore) -> None:
    assert (await usage_report(store, [], since="2026-11-23T12:00")).total.calls == 2
    assert (await usage_report(store, [], since="2026-11-23T12:00+02:00", until="2026-11-23T12:00Z")).total.calls == 0


async def test_nothing_used_is_a_line_of_zeros(store: ReportStore) -> None:
    report = await usage_report(store, ["team"], since="2027-01-01")
    assert report.lines == []
    assert (report.total.calls, report.total.cost_usd) == (0, "0.00")


@pytest.mark.parametrize(("by", "since", "param"), [(["colour"], None, "by"), (["team"], "yesterday", "since")])
async def test_what_cannot_be_read_is_named(store: ReportStore, by: list[str], since: str | None, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await usage_report(store, by, since=since)
    assert caught.value.param == param
