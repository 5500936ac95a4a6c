"""Model lines in both databases: a change compares what it was made on, and every change is told."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from gateway.core.clock import Clock
from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.db.engine import Database
from gateway.policy.load import Rulebook, Texts, load
from gateway.policy.models_file import SuccessorEntry
from gateway.registry import NewVersion, Registry
from gateway.tuning.jobs.store import TuningJobs
from gateway.tuning.lines.store import Lines
from gateway.tuning.lines.values import Scored

MODELS = b"""
upstreams: {main: {base_url: "http://127.0.0.1:9/v1"}}
models: {"*": {upstream: main}, plain: {upstream: main}}
aliases: {short: plain}
lines:
  written:
    versions: [{id: "ft:base:acme::1", upstream: main, base: base, shutdown_date: 2027-01-14}]
    successor: {path: direct, model: base}
"""
ROUTING = b"""
rules:
  - {name: some, when: {team: [board]}, use: {path: direct, model: asked}}
  - {name: all, use: {path: direct}}
"""
FIRST = NewVersion(model="ft:base:acme::1", upstream="main", base="base")
SECOND = NewVersion(model="ft:base:acme::2", upstream="main", base="base")
ITEMS = [f"item-{number}" for number in range(40)]


def rulebook() -> Rulebook:
    return load(Texts("policies", {"models.yaml": MODELS, "routing.yaml": ROUTING}))


@pytest.fixture
def registry(database: Database) -> Registry:
    return Registry(Lines(database), TuningJobs(database), rulebook, Clock())


async def score(registry: Registry, number: int, value: float, items: list[str] = ITEMS, set_hash: str = "s") -> None:
    text_of = json.dumps({item: value + 0.001 * (len(item) % 3) for item in items})
    await registry.lines.scored(
        Scored(f"{number}-{set_hash}-{value}", "tone", number, set_hash, "eval", value, len(items), text_of, number)
    )


async def two_versions(registry: Registry) -> None:
    await registry.create("tone", "support", FIRST, "ann")
    await registry.add("tone", SECOND, "ann")


async def test_of_two_changes_made_on_the_same_reading_one_is_refused(registry: Registry) -> None:
    await two_versions(registry)
    line, _ = await registry.lines.find("tone")

    async def change(actor: str) -> bool:
        try:
            await registry.lines.change(line, {"champion": 2}, actor, "line.promote", {})
        except Conflict:
            return False
        return True

    assert sorted(await asyncio.gather(*(change(str(number)) for number in range(5)))) == [False] * 4 + [True]


async def test_every_change_leaves_an_event_and_an_audit_row(registry: Registry, database: Database) -> None:
    await two_versions(registry)
    before = await registry.lines.change_number()
    await registry.promote("tone", 2, "ann", is_forced=True, reason="a try")
    await registry.canary("tone", 1, 0.05, "bob")
    await registry.rollback("tone", "bob", "it was worse")
    events = await registry.lines.events("tone")
    assert [event.action for event in events] == [
        "line.rollback", "line.canary", "line.promote", "line.version", "line.create",
    ]  # fmt: skip
    assert [event.revision for event in events] == [5, 4, 3, 2, 1]
    assert await registry.lines.change_number() == before + 3
    async with database.session() as session:
        rows = (await session.execute(text("SELECT actor, action FROM audit_events ORDER BY at, id"))).all()
    assert [tuple(row) for row in rows][-3:] == [
        ("ann", "line.promote"), ("bob", "line.canary"), ("bob", "line.rollback"),
    ]  # fmt: skip
    told: dict[str, Any] = json.loads(events[2].detail)
    assert (told["from"], told["to"], told["forced"], told["reason"]) == (1, 2, True, "a try")


async def test_only_a_candidate_that_did_no_worse_on_the_same_set_is_promoted(registry: Registry) -> None:
    await two_versions(registry)
    with pytest.raises(Conflict, match="same frozen set"):
        await registry.promote("tone", 2, "ann")
    await score(registry, 1, 0.8)
    await score(registry, 2, 0.9, set_hash="another")
    with pytest.raises(Conflict, match="same frozen set"):
        await registry.promote("tone", 2, "ann")
    await score(registry, 2, 0.5)
    with pytest.raises(Conflict, match="worse"):
        await registry.promote("tone", 2, "ann")
    await registry.add("tone", msgspec.structs.replace(SECOND, model="ft:base:acme::3"), "ann")
    await score(registry, 3, 0.79)
    promoted = await registry.promote("tone", 3, "ann")
    assert (promoted.line.champion, promoted.line.previous, promoted.was_forced) == (3, 1, False)
    assert promoted.gate.comparison is not None
    assert promoted.gate.comparison.verdict == "not_worse"
    assert (await registry.rollback("tone", "ann")).champion == 1
    # A second one would bring the bad version back.
    with pytest.raises(Conflict, match="nothing to go back to"):
        await registry.rollback("tone", "ann")


async def test_scores_of_other_items_are_no_comparison(registry: Registry) -> None:
    await two_versions(registry)
    await score(registry, 1, 0.5)
    await score(registry, 2, 0.9, ITEMS[1:])
    with pytest.raises(Conflict, match="not the same frozen set"):
        await registry.promote("tone", 2, "ann")


async def test_a_line_of_the_file_is_taken_over_when_it_is_changed(registry: Registry) -> None:
    shown = await registry.one("written")
    assert (shown.kept_in, shown.versions[0].version.shutdown_date) == ("policy", "2027-01-14")
    added = await registry.add("written", SECOND, "ann")
    assert (added.number, added.parent) == (2, 1)
    shown = await registry.one("written")
    assert (shown.kept_in, [one.version.model for one in shown.versions]) == (
        "registry", ["ft:base:acme::1", "ft:base:acme::2"],
    )  # fmt: skip
    assert (await registry.add("written", SECOND, "ann")).number == 2


async def test_what_cannot_be_is_refused(registry: Registry) -> None:
    await two_versions(registry)
    with pytest.raises(Conflict):
        await registry.create("tone", "support", FIRST, "ann")
    with pytest.raises(Conflict):
        await registry.create("written", "support", FIRST, "ann")
    with pytest.raises(NotFound):
        await registry.promote("tone", 9, "ann", is_forced=True)
    with pytest.raises(Conflict, match="nothing to go back to"):
        await registry.rollback("tone", "ann")
    with pytest.raises(InvalidRequest):
        await registry.canary("tone", 2, 1.5, "ann")
    with pytest.raises(InvalidRequest):
        await registry.create("other", "support", NewVersion(model="ft:x"), "ann")
    with pytest.raises(NotFound):
        await registry.create("other", "support", NewVersion(job="ftjob-none"), "ann")
    with pytest.raises(NotFound):
        await registry.one("nothing")
    for name in ("auto", "plain", "short", "tone@v1", "kb/help", ""):
        with pytest.raises(InvalidRequest):
            await registry.create(name, "support", FIRST, "ann")


async def test_a_line_says_where_its_calls_go_once_it_has_ended(registry: Registry) -> None:
    await two_versions(registry)
    line = await registry.succeed("tone", SuccessorEntry(path="direct", model="plain"), "ann")
    assert line.successor == '{"path":"direct","model":"plain"}'
    assert (await registry.succeed("tone", None, "ann")).successor is None
    for wrong in (
        SuccessorEntry(path="fine_tuned", line="nothing"),
        SuccessorEntry(path="rag", model="plain", collections=["nothing"]),
    ):
        with pytest.raises(InvalidRequest):
            await registry.succeed("tone", wrong, "ann")


async def test_a_line_that_is_taken_out_is_the_files_again_or_gone_and_told(registry: Registry) -> None:
    await two_versions(registry)
    await registry.remove("tone", "ann")
    with pytest.raises(NotFound):
        await registry.one("tone")
    assert (await registry.lines.events("tone"))[0].action == "line.remove"
    await registry.add("written", SECOND, "ann")
    await registry.remove("written", "ann")
    assert (await registry.one("written")).kept_in == "policy"
    await registry.create("asked", "support", FIRST, "ann")
    with pytest.raises(Conflict, match="Rules name"):
        await registry.remove("asked", "ann")


async def test_scores_by_different_graders_are_no_comparison(registry: Registry) -> None:
    """A grader that gives everything its due says nothing of a version that a stricter one has judged."""
    await two_versions(registry)
    await score(registry, 1, 0.3, set_hash="set-1/grader-strict")
    await score(registry, 2, 0.9, set_hash="set-1/grader-lax")
    with pytest.raises(Conflict, match="--set FILE --versions 1,2"):
        await registry.promote("tone", 2, "ann")
    await score(registry, 1, 0.95, set_hash="set-1/grader-lax")
    with pytest.raises(Conflict, match="worse"):
        await registry.promote("tone", 2, "ann")


async def test_a_champion_past_its_day_does_not_hold_a_measured_candidate_back(registry: Registry) -> None:
    await registry.create("tone", "support", msgspec.structs.replace(FIRST, shutdown_date="2026-01-01"), "ann")
    await registry.add("tone", SECOND, "ann")
    with pytest.raises(Conflict, match="same frozen set"):
        await registry.promote("tone", 2, "ann")
    await score(registry, 1, 0.9)
    await score(registry, 2, 0.5, set_hash="another")
    promoted = await registry.promote("tone", 2, "ann")
    assert not promoted.was_forced
    events = await registry.lines.events("tone")
    told: dict[str, Any] = json.loads(events[0].detail)
    assert (told["forced"], told["set"]) == (False, "another")
    assert "version 1 ended on 2026-01-01" in told["gate"]


async def test_a_champion_that_was_measured_after_its_day_has_not_ended(registry: Registry) -> None:
    await registry.create("tone", "support", msgspec.structs.replace(FIRST, shutdown_date="2026-01-01"), "ann")
    await registry.add("tone", SECOND, "ann")
    await score(registry, 2, 0.5)
    text_of = json.dumps(dict.fromkeys(ITEMS, 0.9))
    late = Clock().wall()
    await registry.lines.scored(Scored("late", "tone", 1, "s", "eval", 0.9, len(ITEMS), text_of, late))
    with pytest.raises(Conflict, match="worse"):
        await registry.promote("tone", 2, "ann")


async def test_scores_that_name_no_grader_pair_only_within_one_evaluation(registry: Registry) -> None:
    await two_versions(registry)
    for number, source in ((1, "eval_1"), (2, "eval_2")):
        scores = json.dumps(dict.fromkeys(ITEMS, 0.5))
        await registry.lines.scored(Scored(source, "tone", number, "set-1", source, 0.5, 40, scores, number))
    with pytest.raises(Conflict, match="same grader"):
        await registry.promote("tone", 2, "ann")


async def test_a_few_items_without_a_score_are_left_out_of_both(registry: Registry) -> None:
    await two_versions(registry)
    for number, items in ((1, ITEMS), (2, ITEMS[1:])):
        scores = json.dumps(dict.fromkeys(items, 0.5))
        await registry.lines.scored(
            Scored(f"s{number}", "tone", number, "set-1/grader-1", "e", 0.5, 40, scores, number)
        )
    gate = (await registry.promote("tone", 2, "ann")).gate
    assert gate.comparison is not None
    assert gate.comparison.n == 39


async def test_a_wide_margin_is_an_override_and_noted_as_one(registry: Registry) -> None:
    await two_versions(registry)
    await score(registry, 1, 0.9)
    await score(registry, 2, 0.1)
    with pytest.raises(Conflict, match=r"above 0\.05"):
        await registry.promote("tone", 2, "ann", margin=0.9)
    for wrong in (-0.1, float("nan"), 2.0):
        with pytest.raises(InvalidRequest, match="margin"):
            await registry.promote("tone", 2, "ann", margin=wrong, is_forced=True)
    assert (await registry.promote("tone", 2, "ann", margin=0.9, is_forced=True)).was_forced
    (event, *_) = await registry.lines.events("tone")
    told: dict[str, Any] = json.loads(event.detail)
    assert (told["forced"], told["margin"]) == (True, 0.9)
