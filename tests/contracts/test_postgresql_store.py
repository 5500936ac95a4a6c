"""What the PostgreSQL store promises beyond every store: replicas, a server that is away, one without pgvector."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from gateway.core.errors import KnowledgeUnavailable
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.knowledge.chunks import cut
from gateway.knowledge.document import write_document
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.filters import Comparison
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores import Ask, Entry, Probe
from gateway.knowledge.stores.postgresql import SEARCH_SECONDS, PostgresqlStore
from tests.fakes.database_proxy import database_proxy
from tests.fakes.embedder import FakeEmbedder
from tests.fakes.postgres import Postgres


async def fresh(postgres: Postgres) -> str:
    url = postgres.fresh()
    database = Database(url)
    await upgrade(database)
    await database.close()
    return url


@pytest.fixture
async def url(postgres: Postgres) -> str:
    return await fresh(postgres)


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresqlStore]:
    made = PostgresqlStore(url)
    yield made
    await made.close()


async def put(store: PostgresqlStore, name: str, text: str, kind: str = "") -> None:
    document = write_document(name, name, text, attributes=(("kind", kind),))
    await store.put("help", "s", [Entry(document, cut(document))])


async def search(store: PostgresqlStore, text: str, **more: object) -> list[str]:
    ask = Ask(text, "t", ("help",), 10, more.pop("probes", {}), **more)  # type: ignore[arg-type]  # passed on
    return [hit.document for hit in (await store.search(ask)).passages]


@pytest.mark.parametrize("mode", ["stop", "hang", "refuse"])
async def test_a_server_that_is_away_is_unavailable_in_a_bounded_time_and_then_back(
    postgres: Postgres, mode: str
) -> None:
    with database_proxy(postgres.folder) as door:
        store = PostgresqlStore(door.url(await fresh(postgres)))
        await put(store, "a", "swordfish")
        assert await search(store, "swordfish") == ["a"]
        door.turn(mode)  # type: ignore[arg-type]  # one of them
        begun = time.monotonic()
        for _ in range(2):
            with pytest.raises(KnowledgeUnavailable):
                await search(store, "swordfish")
        # Two searches, each with its bound; the rest is a busy machine.
        assert time.monotonic() - begun < 2 * (SEARCH_SECONDS + 5) + 5
        door.turn("pass")
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await search(store, "swordfish") == ["a"]
                except KnowledgeUnavailable:
                    await asyncio.sleep(0.05)
                else:
                    break
        await store.close()


async def test_one_process_passes_over_a_collection_at_a_time(url: str, store: PostgresqlStore) -> None:
    other = PostgresqlStore(url)
    async with store.syncing("help") as mine:
        assert mine
        async with other.syncing("another") as free:
            assert free
        waiting = asyncio.create_task(enter(other, "help"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    assert await waiting is True
    await other.close()


async def enter(store: PostgresqlStore, collection: str) -> bool:
    async with store.syncing(collection) as mine:
        return mine


async def test_two_replicas_that_load_the_same_at_once_load_it_once(
    url: str, store: PostgresqlStore, tmp_path: Path
) -> None:
    for n in range(40):
        (tmp_path / f"{n}.md").write_text(f"# Note {n}\n\nThe swordfish number {n} swims.")
    settings = [CollectionSettings("help", "", (SourceSettings("folder", str(tmp_path)),), ("*",))]
    libraries = [Library(PostgresqlStore(url), settings, {}) for _ in range(2)]
    reports = await asyncio.gather(*(library.sync() for library in libraries))
    assert sorted(report.added for report in reports) == [0, 40]
    for library in libraries:
        await library.close()
    assert await store.counts() == {"help": (40, 40)}


async def test_without_pgvector_words_answer_and_the_operator_is_told(postgres: Postgres, tmp_path: Path) -> None:
    """The role owns its tables and may not make extensions, as on a server where nobody has installed it."""
    url = postgres.fresh()
    name = url.partition("@/")[2].partition("?")[0]
    role = f"plain_{name}"
    postgres.run(f"CREATE ROLE {role} LOGIN; ALTER DATABASE {name} OWNER TO {role}")
    url = url.replace("postgres@", f"{role}@")
    database = Database(url)
    await upgrade(database)
    await database.close()
    (tmp_path / "a.md").write_text("The swordfish swims.")
    embedder = FakeEmbedder()
    settings = [CollectionSettings("help", "", (SourceSettings("folder", str(tmp_path)),), ("*",), "fake")]
    library = Library(PostgresqlStore(url), settings, {"fake": Remembered(embedder)})
    report = await library.sync()
    assert (report.added, report.faults) == (1, ())
    assert embedder.seen == [], "nobody pays for vectors that cannot be kept"
    assert [hit.document for hit in (await library.search("swordfish", ["help"], "t")).hits] == ["a.md"]
    assert "CREATE EXTENSION vector" in await library.note()
    await library.close()


async def test_a_large_collection_is_searched_through_a_graph_and_gives_the_same(url: str) -> None:
    """With and without a filter that few pass; the graph belongs to the one collection."""
    exact, near = PostgresqlStore(url), PostgresqlStore(url, near_from=300)
    chance = np.random.default_rng(3)
    rows = chance.standard_normal((600, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    documents = [
        write_document(f"d{n}", f"d{n}", f"own{n}", attributes=(("kind", "few" if n % 30 == 0 else "many"),))
        for n in range(600)
    ]
    await exact.put("help", "s", [Entry(one, cut(one)) for one in documents])
    pending = await exact.pending("help", "e", 1_000)
    await exact.put_vectors("help", "e", tuple(one.id for one in pending), rows)
    questions = chance.standard_normal((10, 16)).astype(np.float32)
    questions /= np.linalg.norm(questions, axis=1, keepdims=True)
    asked = [{"help": Probe("e", question)} for question in questions]
    few = Comparison("kind", "eq", "few")
    before = [await search(exact, "zzz", probes=probes) for probes in asked]
    filtered = [await search(exact, "zzz", probes=probes, filter=few) for probes in asked]
    await exact.serve("help", "e")
    database = Database(url)
    query = "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'"
    async with database.engine.connect() as connection:
        assert (await connection.exec_driver_sql(query)).scalar_one() == 0
    await near.serve("help", "e")
    async with database.engine.connect() as connection:
        assert (await connection.exec_driver_sql(query)).scalar_one() == 1
    await database.close()
    after = [await search(near, "zzz", probes=probes) for probes in asked]
    assert sum(len(set(one) & set(other)) for one, other in zip(before, after, strict=True)) >= 95
    narrow = [await search(near, "zzz", probes=probes, filter=few) for probes in asked]
    assert [len(one) for one in narrow] == [10] * 10
    assert sum(len(set(one) & set(other)) for one, other in zip(filtered, narrow, strict=True)) >= 95
    await exact.close()
    await near.close()


async def test_text_that_postgresql_cannot_hold_is_held_without_what_it_cannot(store: PostgresqlStore) -> None:
    document = write_document(
        "a\0b", "t\0\ud800", "sword\0fish \ud800 alpha", filename="\0", attributes=(("k\0", "v\0"),)
    )
    assert await store.put("help", "s", [Entry(document, cut(document))]) == ("added",)
    assert await store.put("help", "s", [Entry(document, cut(document))]) == ("unchanged",)
    assert await search(store, "alpha") == ["a\ufffdb"]
    assert await search(store, "alpha", filter=Comparison("k\0", "eq", "v\0")) == ["a\ufffdb"]
    assert await store.remove("help", "s", "a\0b") is True


async def test_words_are_cut_as_sqlite_cuts_them(store: PostgresqlStore) -> None:
    """No address, path or tag is one word, accents make no difference, and no stop-word is lost."""
    await put(store, "a", "See https://docs.example.com/how-to/reset_password.html or mail help@example.com <b>now</b>")
    await put(store, "b", "Das Café ist übel, l'été aussi. Order no. 4711-0815, v2.10")
    for word in ("docs", "example", "reset", "password", "html", "help", "now"):
        assert await search(store, word) == ["a"], word
    for word in ("cafe", "Café", "ubel", "ete", "4711", "0815", "v2", "10"):
        assert await search(store, word) == ["b"], word
    assert await search(store, "or") == ["a"]
