"""No passage of a collection reaches a team that may not read it: 1,000 searches, seeded."""

import random
from pathlib import Path

from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from gateway.knowledge.sync import Library
from tests.fakes.embedder import FakeEmbedder

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
