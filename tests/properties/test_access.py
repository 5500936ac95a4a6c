"""No passage of a collection reaches a team that may not read it, and none weighs in its decisions; seeded."""

import json
import random
from pathlib import Path

import msgspec

from gateway.core.call import Principal
from gateway.core.decision import Decision
from gateway.core.facts import Facts
from gateway.explained import decide_looking, explain_call
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from gateway.ledger.records import record_of
from gateway.paths.lookups import LookUps
from gateway.paths.rag import Sources
from gateway.policy.decide import Policy
from gateway.policy.written_call import CallEntry
from gateway.tuning.tasks import Tasks
from tests.fakes.calls import NOON, chat, facts
from tests.fakes.embedder import FakeEmbedder
from tests.fakes.rulebook import rulebook

TEAMS = ("support", "sales", "legal", "hr", "nobody-special")
WORDS = (
    "refund",
    "invoice",
    "contract",
    "holiday",
    "salary",
    "card",
    "shipping",
    "warranty",
    "claim",
    "account",
    "password",
    "reset",
)


def collections(tmp_path: Path, chance: random.Random) -> list[CollectionSettings]:
    """Twelve collections of like texts: each text names its collection, so that a leak shows."""
    made = []
    for n in range(12):
        folder = tmp_path / f"c{n}"
        folder.mkdir()
        for d in range(5):
            (folder / f"{d}.md").write_text(f"# Note {d}\n\nowner{n} " + " ".join(chance.sample(WORDS, 6)))
        teams = ("*",) if n == 0 else () if n == 1 else tuple(chance.sample(TEAMS[:4], chance.randrange(1, 4)))
        source = SourceSettings("folder", str(folder))
        made.append(CollectionSettings(f"c{n}", "", (source,), teams, "fake" if n % 2 else None))
    return made


async def test_no_search_leaks(tmp_path: Path) -> None:
    chance = random.Random(20261123)
    settings = collections(tmp_path, chance)
    library = Library(SqliteStore(tmp_path / "k.sqlite"), settings, {"fake": Remembered(FakeEmbedder())})
    await library.sync()
    names = [each.name for each in settings] + ["absent", "", "C0", "c0 ", "*"]
    hits = 0
    for turn in range(1000):
        if turn % 100 == 99:  # Rights change while calls go on.
            settings = [
                CollectionSettings(s.name, "", s.sources, tuple(chance.sample(TEAMS, chance.randrange(3))), s.embedder)
                for s in settings
            ]
            library.replace(settings)
        readers = {each.name: each.teams for each in settings}
        team = chance.choice([*TEAMS, "*", "", "c3"])
        asked = chance.choices(names, k=chance.randrange(1, 8))
        question = " ".join(chance.choices([*WORDS, f"owner{chance.randrange(12)}"], k=4))
        signal = await library.search(question, asked, team, limit=20)
        for hit in signal.hits:
            hits += 1
            assert hit.collection in asked
            assert team in readers[hit.collection] or "*" in readers[hit.collection]
            assert f"owner{hit.collection[1:]} " in hit.text
        if not set(asked) & set(library.readable(team)):
            assert signal.score == 0
    assert hits > 1000, "a test without hits proves nothing"
    await library.close()


class Local(FakeEmbedder):
    """Explaining asks no embedder at an upstream; so that it asks the same as a call, this one is here."""

    is_local = True


def policy_over(settings: list[CollectionSettings], chance: random.Random) -> Policy:
    """Rules that ask about random sets of collections, whoever may read them."""
    names = [one.name for one in settings]
    known = ", ".join(f"{one.name}: {{teams: {json.dumps(one.teams)}}}" for one in settings)
    rules = []
    for number in range(4):
        asked = json.dumps(chance.sample(names, chance.randrange(1, 6)))
        when = f"knowledge: {{collections: {asked}, score_over: {chance.choice([0.2, 0.6, 0.9])}}}"
        use = f"path: rag, collections: {asked}, model: small"
        rules.append(f"{{name: r{number}, when: {{{when}}}, use: {{{use}}}}}")
    routing = f"rules: [{', '.join(rules)}, {{name: rest, use: {{path: direct, model: small}}}}]"
    models = "upstreams: {main: {base_url: 'http://main.test/v1'}}\nmodels: {small: {upstream: main}}"
    return rulebook(routing, models, f"collections: {{{known}}}").policy


async def test_no_rule_weighs_finds_or_names_what_the_team_may_not_read(tmp_path: Path) -> None:
    """The decision is the one that would fall if the other collections did not exist."""
    chance = random.Random(20261124)
    settings = collections(tmp_path, chance)
    library = Library(SqliteStore(tmp_path / "k.sqlite"), settings, {"fake": Remembered(Local())})
    await library.sync()
    sources = Sources(library, 1_000, lambda _names, _result, _seconds: None, lambda _principal, _use, _call: None)
    lookups = LookUps(sources, Tasks({}, None, tmp_path))
    rules = []
    for _ in range(120):
        policy, team = policy_over(settings, chance), chance.choice(TEAMS)
        text = " ".join(chance.choices([*WORDS, f"owner{chance.randrange(12)}"], k=4))
        principal, call = Principal(team, "key_1", "web"), chat(messages=[{"role": "user", "content": text}])

        async def decided() -> tuple[Decision, Facts]:
            return await decide_looking(policy, call, principal, facts(), "dec_1", lookups)  # noqa: B023  # awaited at once

        decision, known = await decided()
        readable = set(library.readable(team))
        library.replace([one for one in settings if one.name in readable])
        assert await decided() == (decision, known)
        library.replace(settings)
        rules.append(decision.rule)
        told = await explain_call(policy, CallEntry(team=team, text=text), NOON, lookups)
        assert told.rule == decision.rule
        for score in (*decision.scores, *told.signals):
            assert score.of in readable
        for _, signal in known.knowledge:
            assert {name for name, _ in signal.evidence or ()} <= readable
            assert {hit.collection for hit in signal.hits} <= readable
        kept = msgspec.json.encode(record_of("call_1", principal, decision, known, ())).decode()
        assert "owner" not in kept
    assert 20 < rules.count("rest") < 100, "rules that always or never hold prove nothing"
    await library.close()
