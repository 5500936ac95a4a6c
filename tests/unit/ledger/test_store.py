from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.core.usage import Usage
from gateway.ledger.records import DecisionRecord
from gateway.ledger.reports.store import ReportStore
from tests.fakes.calls import NAMES, NOON, closed
from tests.fakes.database import database
from tests.fakes.row_sums import SummedStore

DECISION = DecisionRecord(
    id="dec_1",
    call_id="call_1",
    at=NOON,
    team="support",
    key_id="key_1",
    key_name="web",
    endpoint="chat",
    asked_model="auto",
    rule="a-rule",
    path="direct",
    upstream="main",
    model="gpt-4.1-mini",
    line=None,
    policy_hash="0" * 16,
    names=NAMES,
    trace=((0, 1), (1, -1)),
    draw=0.25,
    budget_used=None,
    signals=(("help-centre", 0.7),),
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SummedStore]:
    async with database(tmp_path) as opened:
        yield SummedStore(opened)


async def test_the_same_row_again_changes_nothing(store: SummedStore) -> None:
    for _ in range(3):
        await store.ship([closed(1), closed(2)], [DECISION], {"a.journal": 7})
    (total,) = await store.sums(())
    assert (total.calls, total.attempts, total.input_tokens, total.cost_nano_usd) == (2, 2, 20, 24_000)
    assert await store.offset("a.journal") == 7
    assert await store.decision("dec_1") == await store.decision("call_1") == DECISION


async def test_calls_are_counted_by_their_last_attempt(store: SummedStore) -> None:
    await store.ship([closed(1, id="call_1.1", last=False), closed(1, id="call_1.2", attempt=2)], [], {})
    (total,) = await store.sums(())
    assert (total.calls, total.attempts) == (1, 2)


async def test_an_unknown_cost_is_told_and_not_added_as_zero(store: SummedStore) -> None:
    estimated = Usage(10, 5, source="estimated")
    await store.ship([closed(1), closed(2, cost_nano_usd=None, cost_status="unpriced", usage=estimated)], [], {})
    (total,) = await store.sums(())
    assert (total.cost_nano_usd, total.unpriced, total.estimated) == (12_000, 1, 1)


async def test_groups_add_up_to_the_whole(store: SummedStore) -> None:
    teams = ("a", "b", "b", "c", "c", "c")
    events = [closed(n, team=team, cost_nano_usd=10**n, line="tone" if n % 2 else None) for n, team in enumerate(teams)]
    await store.ship(events, [], {})
    by_team = await store.sums(["team"])
    assert [(one.group["team"], one.cost_nano_usd) for one in by_team] == [("c", 111_000), ("b", 110), ("a", 1)]
    for group in ("key_id", "path", "model", "line", "rule", "upstream", "endpoint", "collections", "day"):
        assert sum(one.cost_nano_usd for one in await store.sums([group])) == 111_111


async def test_a_span_has_its_beginning_and_not_its_end(store: SummedStore) -> None:
    await store.ship([closed(n, at=NOON + n) for n in range(3)], [], {})
    (span,) = await store.sums((), since=NOON, until=NOON + 2)
    assert span.attempts == 2
    assert await store.sums((), since=NOON + 3) == []


async def test_days_are_those_of_utc(store: SummedStore) -> None:
    midnight = datetime(2026, 11, 24, tzinfo=UTC).timestamp()
    await store.ship([closed(1, at=midnight - 0.5), closed(2, at=midnight)], [], {})
    assert sorted(str(one.group["day"]) for one in await store.sums(["day"])) == ["2026-11-23", "2026-11-24"]


async def test_sums_past_32_bits_and_past_floats_are_exact(store: SummedStore) -> None:
    large = 2**60 + 1
    await store.ship([closed(1, cost_nano_usd=large), closed(2, cost_nano_usd=large)], [], {})
    (total,) = await store.sums(())
    assert total.cost_nano_usd == 2 * large


async def test_a_policy_is_kept_under_its_hash(store: SummedStore) -> None:
    files = {"routing.yaml": b"rules: []", "models.yaml": "ü".encode()}
    for _ in range(2):
        await store.keep_policy("abc", files)
    assert await store.policy_files("abc") == files
    assert await store.policy_files("xyz") is None


async def test_an_unknown_group_is_a_fault_and_no_query(tmp_path: Path) -> None:
    async with database(tmp_path) as opened:
        for since in (None, NOON + 1):
            with pytest.raises(KeyError, match="DROP TABLE"):
                await ReportStore(opened).sums(["team; DROP TABLE usage_events"], since)


async def test_offsets_of_files_that_are_gone_are_forgotten(store: SummedStore) -> None:
    await store.ship([], [], {"a": 1, "b": 2})
    await store.forget(["a"])
    assert (await store.offset("a"), await store.offset("b")) == (0, 2)
