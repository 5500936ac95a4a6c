"""Canaries in both databases: counted by all processes together, judged, taken back, and told once."""

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.canaries import Canaries, counts_of, holds, mostly_json
from gateway.core.clock import Clock
from gateway.core.decision import Arm, Trial
from gateway.core.event import UsageEvent
from gateway.db.engine import Database
from gateway.ledger.store import LedgerStore
from gateway.ledger.webhooks.store import WebhookStore
from gateway.policy.load import Rulebook, load
from gateway.registry import NewVersion, Registry
from gateway.tuned import registry_of
from gateway.tuning.feedback.store import FeedbackStore
from gateway.tuning.feedback.values import Feedback
from gateway.tuning.jobs.store import TuningJobs
from gateway.tuning.lines.store import Lines, Trials, UpstreamShutdowns
from gateway.tuning.lines.values import Seen, Standing, TrialKey
from gateway.tuning.trials import Tally
from gateway.upstream.prepared import Prepared
from tests.fakes.books import Hands
from tests.fakes.calls import chat, closed
from tests.fakes.rulebook import DIRECT, texts

MODELS = """
upstreams: {main: {base_url: "http://127.0.0.1:9/v1"}}
models: {"*": {upstream: main}}
"""
TUNING = "webhooks: [{url: 'http://hooks.test/all'}, {url: 'http://hooks.test/others', teams: [others]}]"
ONE = NewVersion(model="ft:base:acme::1", upstream="main", base="base")
TWO = NewVersion(model="ft:base:acme::2", upstream="main", base="base")
KEY = TrialKey("tone", 1, 2)
MOST = 5_000


class Process:
    """What one process has of canaries; several share a database."""

    def __init__(self, database: Database, hands: Hands) -> None:
        self.database = database
        self.clock: Clock = hands.clock()
        self.watching: dict[str, Callable[[UsageEvent], None]] = {}
        self.tally = Tally(self.watching)
        self.rulebook = load(texts(DIRECT, MODELS, tuning=TUNING))
        self.registry = Registry(Lines(database), TuningJobs(database), lambda: self.rulebook, self.clock)
        self.rolled_back: list[str] = []
        around = (self.tally, database, self.registry, self.rules, self.clock, self.rolled_back.append)
        self.canaries = Canaries(*around)

    def rules(self) -> Rulebook:
        return self.rulebook

    async def reload(self) -> None:
        written = texts(DIRECT, MODELS, tuning=TUNING)
        written.files["registry.yaml"] = await registry_of(self.database)
        self.rulebook = load(written)

    def call(self, number: int, *, is_drawn: bool, text: str = "", **event: Any) -> None:
        """One call that was a part of the canary, with its reply."""
        trial = Trial("tone", 1, 2, 0.5, 0.0 if is_drawn else 0.9)
        version = 2 if is_drawn else 1
        arm = Arm("fine_tuned", "main", f"ft:base:acme::{version}", "tone", version)
        call = chat()
        call = msgspec.structs.replace(call, inbound=msgspec.structs.replace(call.inbound, call_id=f"call_{number}"))
        prepared = self.tally.followed(call, trial, arm, Prepared(arm, b""))
        self.watching[f"call_{number}"](closed(number, model=arm.model, line="tone", **event))
        if text and prepared.heard is not None:
            prepared.heard(text)


@pytest.fixture
async def hands() -> Hands:
    return Hands()


@pytest.fixture
async def process(database: Database, hands: Hands) -> Process:
    made = Process(database, hands)
    await made.registry.create("tone", "support", ONE, "tests")
    await made.registry.add("tone", TWO, "tests")
    await made.registry.canary("tone", 2, 0.5, "tests")
    await made.reload()
    return made


async def share(process: Process) -> float:
    found: float = (await process.registry.one("tone")).line.canary
    return found


async def test_a_worse_challenger_is_taken_back_by_the_counts_of_two_processes(
    process: Process, database: Database, hands: Hands
) -> None:
    other = Process(database, hands)
    await other.reload()
    chance = random.Random(7)
    number = 0
    while await share(process):
        assert number < MOST
        for one in (process, other):
            number += 1
            is_drawn = chance.random() < 0.5
            failed = is_drawn and chance.random() < 0.3
            one.call(
                number, is_drawn=is_drawn, outcome="upstream_error" if failed else "ok", status=500 if failed else 200
            )
        if number % 20 == 0:
            await other.canaries.look(judges=False)
            await process.canaries.look(judges=True)
    assert process.rolled_back == ["tone"]
    assert other.rolled_back == []
    assert number < 400
    (event, *_) = await process.registry.lines.events("tone")
    assert (event.actor, event.action) == ("canary", "line.canary")
    told = await WebhookStore(database).newest()
    assert [one.url for one in told] == ["http://hooks.test/all"]
    assert json.loads(told[0].body)["type"] == "line.canary_rolled_back"
    assert json.loads(told[0].body)["data"]["line"] == "tone"
    await process.reload()
    assert process.canaries.running() == set()


async def test_a_challenger_as_good_as_its_champion_stays_and_is_proposed_and_never_promoted(process: Process) -> None:
    chance = random.Random(11)
    for number in range(1_400):
        failed = chance.random() < 0.1
        process.call(
            number,
            is_drawn=chance.random() < 0.5,
            outcome="upstream_error" if failed else "ok",
            status=500 if failed else 200,
        )
        if number % 50 == 49:
            await process.canaries.look(judges=True)
    found = (await process.registry.one("tone")).line
    assert (found.canary, found.champion) == (0.5, 1)
    (standing,) = await process.canaries.trials.standing()
    assert standing.champion.calls + standing.challenger.calls == 1_400
    assert standing.held_at is not None
    (told,) = await WebhookStore(process.database).newest()
    assert json.loads(told.body)["type"] == "line.canary_held"


async def test_a_restart_goes_on_with_what_was_counted_and_a_new_canary_begins_anew(
    process: Process, database: Database, hands: Hands
) -> None:
    process.call(1, is_drawn=True)
    await process.canaries.look(judges=False)
    again = Process(database, hands)
    await again.reload()
    again.call(2, is_drawn=True)
    await again.canaries.look(judges=False)
    (standing,) = await again.canaries.trials.standing()
    assert standing.challenger.calls == 2
    await again.registry.canary("tone", 2, 0.1, "tests")
    assert len(await again.canaries.trials.standing()) == 1, "another share is the same canary"
    await again.registry.canary("tone", None, 0, "tests")
    assert len(await again.canaries.trials.standing()) == 1, "what was seen can still be looked at"
    await again.registry.canary("tone", 2, 0.1, "tests")
    assert await again.canaries.trials.standing() == []


async def test_what_cannot_be_kept_is_kept_later(process: Process, database: Database) -> None:
    process.call(1, is_drawn=True)
    taken = process.tally.take()
    process.tally.give_back(taken)
    process.call(2, is_drawn=True)
    assert process.tally.take() == {(KEY, 2): Seen(calls=2)}


async def test_a_challenger_whose_answers_callers_dislike_is_taken_back(process: Process, hands: Hands) -> None:
    process.call(1, is_drawn=True)
    process.call(2, is_drawn=False)
    await process.canaries.look(judges=True)
    hands.turn(1)
    for number in range(40):
        version = 1 + number % 2
        said = Feedback(
            f"call_{number}", "", "support", "k", hands.wall, hands.wall, 1.0 if version == 1 else -1.0, "", "",
            "tone", version, "m",
        )  # fmt: skip
        await FeedbackStore(process.database).put(said)
    await process.canaries.look(judges=True)
    assert await share(process) == 0
    (event, *_) = await process.registry.lines.events("tone")
    assert "disliked" in json.loads(event.detail)["reason"]


async def test_slow_is_what_the_champions_usual_replies_are_not(process: Process, hands: Hands) -> None:
    usual = [
        closed(number, at=hands.wall - 60, model="ft:base:acme::1", upstream_seconds=0.01 * number)
        for number in range(1, 101)
    ]
    await LedgerStore(process.database).ship(usual, [], {})
    process.call(1_001, is_drawn=True, upstream_seconds=9.0)
    await process.canaries.look(judges=True)
    await process.canaries.look(judges=True)
    process.call(1_002, is_drawn=True, upstream_seconds=9.0)
    process.call(1_003, is_drawn=True, upstream_seconds=0.1)
    await process.canaries.look(judges=True)
    (standing,) = await process.canaries.trials.standing()
    assert standing.slow_seconds == pytest.approx(0.96)
    assert (standing.challenger.calls, standing.challenger.slow) == (3, 1)


def test_only_the_version_that_was_drawn_is_counted_and_what_says_nothing_of_a_model_is_not() -> None:
    tally_watching: dict[str, Callable[[UsageEvent], None]] = {}
    tally = Tally(tally_watching)
    call = msgspec.structs.replace(chat(), inbound=msgspec.structs.replace(chat().inbound, call_id="call_1"))
    trial = Trial("tone", 1, 2, 0.5, 0.1)
    challenger = Arm("fine_tuned", "main", "new", "tone", 2, is_canary=True)
    champion = Arm("fine_tuned", "main", "old", "tone", 1)
    tally.followed(call, trial, challenger, Prepared(challenger, b""))
    tally.followed(call, trial, champion, Prepared(champion, b""))
    told = tally_watching["call_1"]
    told(closed(1, model="new", last=False, outcome="upstream_error", status=500))
    told(closed(1, model="new", last=False, outcome="upstream_error", status=429))
    told(closed(1, model="new", last=False, outcome="caller_left", status=499))
    told(closed(1, model="old"))
    assert tally.take() == {(KEY, 2): Seen(calls=1, errors=1)}
    assert tally_watching == {}


def test_a_form_that_nobody_asks_for_counts_where_most_of_the_champions_answers_have_it() -> None:
    json_like = Seen(calls=100, formed=10, malformed=1, plain=90, plain_json=80)
    prose = Seen(calls=100, formed=10, malformed=1, plain=90, plain_json=10)
    assert mostly_json(json_like)
    assert not mostly_json(prose)
    assert counts_of(json_like, is_json=True).malformed == 11
    assert counts_of(prose, is_json=False).malformed == 1


def test_it_holds_out_only_after_enough_calls_of_both() -> None:
    many, few = Seen(calls=500, errors=10), Seen(calls=499)
    assert holds(Standing(KEY, 0.0, None, None, many, many))
    assert not holds(Standing(KEY, 0.0, None, None, many, few))
    assert not holds(Standing(KEY, 0.0, None, None, many, Seen(calls=500, errors=30)))


async def test_what_an_upstream_says_of_its_models_is_a_change_only_when_it_is_another(database: Database) -> None:
    said = UpstreamShutdowns(database)
    lines = Lines(database)
    await said.heard("main", {"base": "2027-01-14"}, 1.0)
    number = await lines.change_number()
    await said.heard("main", {"base": "2027-01-14"}, 2.0)
    assert await lines.change_number() == number
    await said.heard("main", {"base": "2027-02-01"}, 3.0)
    assert await lines.change_number() == number + 1
    assert await said.all() == {"main": {"base": "2027-02-01"}}
    assert await Trials(database).standing() == []
