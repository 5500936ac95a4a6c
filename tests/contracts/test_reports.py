"""A report equals the sum of its rows and of their corrections, whichever table it was read from."""

import csv
import io
import random
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.event import UsageEvent
from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.ledger.adjustments.store import Adjustments
from gateway.ledger.report import usage_report
from gateway.ledger.reports.export import Format, export, report_csv
from gateway.ledger.reports.store import GROUPS, Amounts, ReportStore
from gateway.ledger.store import LedgerStore
from tests.fakes.calls import closed
from tests.fakes.focus_rules import broken_rules

DAY = 86_400.0
START = datetime(2026, 10, 30, tzinfo=UTC).timestamp()
DAYS = 4
SPANS = (
    (None, None),
    (START, START + DAY),
    (START + 0.5 * DAY, None),
    (None, START + 2.25 * DAY),
    (START + 0.3 * DAY, START + 2.7 * DAY),
    (START + 1.2 * DAY, START + 1.4 * DAY),
    (START + 0.9 * DAY, START + 1.1 * DAY),
)
BY = [*([name] for name in GROUPS), ["metadata.feature"], ["team", "day"], ["metadata.a'b", "model"], []]


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'books.db'}"
    opened = Database(url if request.param == "sqlite" else await request.getfixturevalue("postgres").migrated())
    await upgrade(opened)
    yield opened
    await opened.close()


def made_up(number: int, chance: random.Random) -> UsageEvent:
    """Any row, at midnight as often as not, since that is where a day could be counted twice."""
    tokens_in, tokens_out = chance.randrange(1_000), chance.randrange(1_000)
    usage = Usage(
        tokens_in,
        tokens_out,
        cached_tokens=chance.randrange(tokens_in + 1),
        reasoning_tokens=chance.randrange(tokens_out + 1),
        source=chance.choice(("provider", "estimated")),
        service_tier=chance.choice(("", "flex")),
    )
    cost = chance.choice((None, chance.randrange(10**9)))
    day = chance.randrange(DAYS)
    return closed(
        number,
        at=START + DAY * chance.choice((day, day + chance.random())),
        team=chance.choice("abc"),
        organisation=chance.choice(("", "acme")),
        model=chance.choice(("small", "large")),
        asked_model=chance.choice(("auto", "small")),
        line=chance.choice((None, "tone")),
        last=chance.random() < 0.8,
        attempt=chance.choice((0, 1, 2)),
        usage=chance.choice((None, usage)),
        cost_nano_usd=cost,
        cost_by_kind=() if cost is None else (("input", cost),),
        cost_status="unpriced" if cost is None else "priced",
        metadata=chance.choice(((), (("feature", "refunds"),), (("a'b", '"'), ("feature", "é")))),
    )


def summed(events: list[UsageEvent], corrected: dict[str, int], by: list[str]) -> dict[tuple[Any, ...], list[int]]:
    """The same by hand, from the events alone."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for event in events:
        usage = event.usage or Usage(0, 0)
        day = datetime.fromtimestamp(event.at, UTC).date().isoformat()
        given = {"day": day, "month": day[:7], "service_tier": usage.service_tier, "collections": ""}
        group = tuple(
            dict(event.metadata).get(name.removeprefix("metadata."))
            if name.startswith("metadata.")
            else given.get(name, getattr(event, name, None))
            for name in by
        )
        line = sums.setdefault(group, [0] * 10)
        unpriced = event.cost_nano_usd is None and event.id not in corrected
        for place, number in enumerate(
            (
                event.last,
                event.attempt > 0,
                usage.input_tokens,
                usage.cached_tokens,
                usage.output_tokens,
                usage.reasoning_tokens,
                event.context_tokens,
                (event.cost_nano_usd or 0) + corrected.get(event.id, 0),
                unpriced,
                event.usage is not None and usage.source == "estimated",
            )
        ):
            line[place] += number
    return {group: line for group, line in sums.items() if line[0] or line[1]}


def as_sums(found: list[Amounts]) -> dict[tuple[Any, ...], list[int]]:
    return {tuple(one.group.values()): [getattr(one, name) for name in Amounts.__struct_fields__[1:]] for one in found}


async def test_every_group_of_every_span_is_exactly_the_sum_of_its_rows(database: Database) -> None:
    chance = random.Random(4)
    events = [made_up(number, chance) for number in range(300)]
    await LedgerStore(database).ship(events, [], {})
    corrected: dict[str, int] = {}
    for event in chance.sample([event for event in events if event.attempt], 40):
        delta = chance.choice((-1, 1)) * chance.randrange(1, 10**9)
        await Adjustments(database).adjust(event.id, delta, "for the test", "admin")
        corrected[event.id] = delta
    store = ReportStore(database)
    for since, until in SPANS:
        within = [e for e in events if (since is None or e.at >= since) and (until is None or e.at < until)]
        for by in BY:
            found = await store.sums(by, since, until)
            assert as_sums(found) == summed(within, corrected, by), (since, until, by)
        of_team = await store.sums(["model"], since, until, "b")
        assert as_sums(of_team) == summed([e for e in within if e.team == "b"], corrected, ["model"])


async def test_sums_past_32_bits_and_past_floats_are_exact(database: Database) -> None:
    large = 2**60 + 1
    await LedgerStore(database).ship([closed(n, cost_nano_usd=large, cost_by_kind=()) for n in (1, 2)], [], {})
    (total,) = await ReportStore(database).sums(())
    assert total.cost_nano_usd == 2 * large


async def test_the_sums_by_day_come_whole_and_once_however_many_they_are(database: Database) -> None:
    await LedgerStore(database).ship([closed(n, rule=f"r{n}") for n in range(2_005)], [], {})
    rules = [row["rule"] async for row in ReportStore(database).rolled_up("2026-11-23", "2026-11-24", "support")]
    assert sorted(rules) == sorted(f"r{n}" for n in range(2_005))
    assert [row async for row in ReportStore(database).rolled_up("2026-11-24")] == []


@pytest.mark.parametrize("form", ["focus", "csv"])
async def test_an_export_adds_up_to_the_report_to_the_nano_dollar(database: Database, form: Format) -> None:
    chance = random.Random(5)
    events = [made_up(number, chance) for number in range(200)]
    await LedgerStore(database).ship(events, [], {})
    for event in chance.sample([event for event in events if event.attempt], 20):
        await Adjustments(database).adjust(event.id, chance.randrange(1, 10**9), "for the test", "admin")
    store = ReportStore(database)
    for since, until in ((None, None), ("2026-10-31", "2026-11-01")):
        pieces = [piece async for piece in export(store, form, since, until, date(2026, 11, 24))]
        reader = csv.DictReader(io.StringIO("".join(pieces)))
        rows = list(reader)
        report = await usage_report(store, ["team"], since, until)
        name, team = ("BilledCost", "SubAccountId") if form == "focus" else ("cost_usd", "team")
        for line in report.lines:
            cost = sum((Decimal(row[name]) for row in rows if row[team] == line.group["team"]), Decimal(0))
            assert cost == Decimal(line.cost_nano_usd) / 10**9
        if form == "focus":
            assert list(broken_rules(reader.fieldnames or (), rows)) == []
            tokens = sum(int(row["ConsumedQuantity"]) for row in rows if row["ConsumedUnit"] == "Tokens")
            assert tokens == report.total.total_tokens
            assert sum(int(row["x_UnpricedAttempts"]) for row in rows) == report.total.unpriced


async def test_an_export_of_what_is_no_day_is_refused(database: Database) -> None:
    with pytest.raises(InvalidRequest, match="since is '2026-11'"):
        await anext(export(ReportStore(database), "csv", "2026-11", None, date(2026, 11, 24)))


async def test_a_report_as_csv_has_its_lines(database: Database) -> None:
    await LedgerStore(database).ship([closed(1), closed(2, team='=a,"b"')], [], {})
    report = await usage_report(ReportStore(database), ["team", "metadata.x"])
    rows = list(csv.DictReader(io.StringIO(report_csv(report))))
    assert [(row["team"], row["metadata.x"], row["cost_usd"]) for row in rows] == [
        ('=a,"b"', "", "0.000012"),
        ("support", "", "0.000012"),
    ]
