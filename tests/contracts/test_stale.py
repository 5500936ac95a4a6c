"""What ends when, who uses it, and what can be done: over rows in both databases."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from gateway.core.usage import Usage
from gateway.db.engine import Database
from gateway.ledger.reports.store import ReportStore
from gateway.ledger.store import LedgerStore
from gateway.policy.load import Rulebook, load
from gateway.policy.shutdowns_file import BUILT_IN
from gateway.stale import Stale, stale_models
from tests.fakes.calls import closed
from tests.fakes.rulebook import DIRECT, KNOWLEDGE, texts

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC).timestamp()
TODAY = date(2026, 11, 23)
MINI, NEW = "ft:gpt-4o-mini-2024-07-18:acme:tone:Ab12", "ft:gpt-4.1-mini-2025-04-14:acme:intent:Cd34"
LOOSE = "ft:gpt-4.1-mini-2025-04-14:acme::Ef56:ckpt-step-90"
MODELS = f"""
upstreams:
  openai: {{base_url: "env:THEIRS:-https://api.openai.com/v1"}}
  lab: {{base_url: "http://lab.test/v1"}}
models: {{"*": {{upstream: openai}}, small: {{upstream: openai}}}}
lines:
  tone:
    versions: [{{id: "{MINI}", upstream: openai, base: gpt-4o-mini-2024-07-18}}]
    successor: {{path: rag, collections: [help-centre], model: small}}
  intent:
    versions:
      - {{id: "{NEW}", upstream: openai, base: gpt-4.1-mini-2025-04-14, shutdown_date: 2027-03-01}}
      - {{id: intent-lora, upstream: lab, base: open-7b}}
    teams: [support]
  house:
    versions: [{{id: house-lora, upstream: lab, base: open-7b}}]
"""
TUNING = """
trainers:
  openai: {kind: openai_api, upstream: openai}
  own: {kind: local, upstream: lab, models: {open-7b: {path: models/open-7b}}}
"""


def written(**more: str) -> Rulebook:
    return load(texts(DIRECT, MODELS, KNOWLEDGE, tuning=TUNING, shutdowns=BUILT_IN.read_text(), **more))


async def found(database: Database, within: int = 90, **given: Any) -> list[Stale]:
    return await stale_models(ReportStore(database), written(), {}, NOW, TODAY, within, **given)


@pytest.fixture
async def used(database: Database) -> Database:
    rows = [
        closed(1, at=NOW - 86_400, model=MINI, line="tone", team="support", cost_nano_usd=7),
        closed(2, at=NOW - 29.5 * 86_400, model=MINI, line="tone", team="support", cost_nano_usd=5),
        closed(3, at=NOW - 86_400, model=MINI, line="tone", team="sales", cost_nano_usd=None, cost_status="unpriced"),
        closed(4, at=NOW - 31 * 86_400, model=MINI, line="tone", team="legal"),
        closed(5, at=NOW - 60, model=LOOSE, team="sales", cost_nano_usd=3),
        closed(6, at=NOW - 60, model="gpt-4.1-mini", team="sales"),
        closed(7, at=NOW - 60, model=LOOSE + "2", team="sales", endpoint="training", last=False, usage=Usage(5, 0)),
    ]
    await LedgerStore(database).ship(rows, [], {})
    return database


async def test_tuned_models_of_both_bases_have_52_days_left(used: Database) -> None:
    by_name = {one.line or one.model: one for one in await found(used)}
    for name in ("tone", "intent", LOOSE):
        assert (by_name[name].days_left, by_name[name].day, by_name[name].is_within) == (52, date(2027, 1, 14), True)
    assert (by_name["house"].days_left, by_name["house"].is_within) == (None, False)
    assert list(by_name)[-1] == "house"
    assert by_name["tone"].source == "OpenAI API documentation, page Deprecations"
    assert (by_name["intent"].contradicts, by_name["tone"].contradicts) == (True, False)
    assert by_name["intent"].said[0] == ("policy", date(2027, 3, 1))


async def test_calls_and_spend_of_the_last_thirty_days_are_told_by_team(used: Database) -> None:
    by_name = {one.line or one.model: one for one in await found(used)}
    tone = by_name["tone"]
    assert [(team.team, team.calls, team.cost_nano_usd, team.unpriced) for team in tone.teams] == [
        ("support", 2, 12, 0), ("sales", 1, 0, 1),
    ]  # fmt: skip
    assert (tone.calls, tone.cost_nano_usd) == (3, 12)
    assert (by_name[LOOSE].line, by_name[LOOSE].base, by_name[LOOSE].calls) == (None, "gpt-4.1-mini-2025-04-14", 1)
    assert LOOSE + "2" not in by_name, "a training is no call"
    assert "gpt-4.1-mini" not in by_name


async def test_ways_on_are_the_successor_other_versions_and_who_still_trains(used: Database) -> None:
    by_name = {one.line or one.model: one for one in await found(used)}
    assert by_name["tone"].ways == (
        "its calls go on to rag:small with help-centre",
        "trainer openai (openai_api) takes jobs before 2027-01-06",
        "trainer own (local) trains open-7b",
    )
    assert "no successor is declared: `successor:` in models.yaml" in by_name["intent"].ways
    assert "version 2 has no known end" in by_name["intent"].ways
    later = {one.line: one for one in await stale_models(ReportStore(used), written(), {}, NOW, date(2027, 1, 6))}
    assert "trainer openai (openai_api) takes no jobs since 2027-01-06" in later["tone"].ways


async def test_within_is_what_marks_them(used: Database) -> None:
    assert not any(one.is_within for one in await found(used, within=51))
    assert sum(one.is_within for one in await found(used, within=52)) == 3


async def test_a_teams_role_sees_its_lines_and_its_use(used: Database) -> None:
    by_name = {one.line or one.model: one for one in await found(used, teams=frozenset({"sales"}))}
    assert by_name.keys() == {"tone", "house", LOOSE}
    assert [team.team for team in by_name["tone"].teams] == ["sales"]
