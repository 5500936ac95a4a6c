"""Passages in a reranker's order, over a real socket, and in the fused order when it fails."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.knowledge.ingest import EmbeddingUse
from gateway.knowledge.library import Library
from gateway.knowledge.rerankers.rerank_api import ApiReranker
from gateway.knowledge.settings import CollectionSettings, RerankerSettings, SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from gateway.upstream.post import JsonPoster
from tests.fakes.scripted_server import ScriptedServer, Visit, scripted


class Judge:
    """A reranker that likes best what holds its favourite word. mood: ok, refuses, hangs, likes nothing."""

    def __init__(self) -> None:
        self.favourite = "three"
        self.mood = "ok"
        self.asked: list[list[str]] = []

    async def __call__(self, visit: Visit) -> None:
        asked = json.loads(visit.body)
        self.asked.append(asked["documents"])
        if self.mood == "hangs":
            await visit.gone()
            return
        rows = [
            {
                "index": n,
                "relevance_score": 0.0 if self.mood == "likes nothing" else 0.8 if self.favourite in text else 0.2,
            }
            for n, text in enumerate(asked["documents"])
        ]
        body = json.dumps({"results": rows, "usage": {"total_tokens": 42}}).encode()
        status = b"500 Oh" if self.mood == "refuses" else b"200 OK"
        await visit.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)


class Desk:
    def __init__(self, folder: Path, server: ScriptedServer, poster: JsonPoster, judge: Judge) -> None:
        self.judge = judge
        self.folder = folder
        self.uses: list[EmbeddingUse] = []
        self.reranker = RerankerSettings("sharp", f"http://127.0.0.1:{server.origin.port}", "m", kind="openai")
        self.library = Library(
            SqliteStore(folder / "k.db"),
            [],
            {},
            booked=self.uses.append,
            build=lambda settings: ApiReranker(settings, poster.post),
        )

    async def fill(self, **collections: RerankerSettings | None) -> None:
        """Collections of four notes each, by whether they have a reranker."""
        settings = []
        for name, reranker in collections.items():
            docs = self.folder / name
            docs.mkdir()
            for number in ("one", "two", "three", "four"):
                (docs / f"{number}.md").write_text(f"# Note of {name}\n\nThe refund takes {number} days in {name}.")
            source = SourceSettings("folder", str(docs))
            settings.append(CollectionSettings(name, "", (source,), ("*",), reranker=reranker))
        self.library.replace(settings)
        await self.library.sync()

    async def found(
        self, *collections: str, limit: int = 4, rerank: bool = True, local_only: bool = False
    ) -> list[str]:
        signal = await self.library.search(
            "refund one day", collections or ("a",), "t", limit, rerank=rerank, local_only=local_only
        )
        scores = [hit.score for hit in signal.hits]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        return [f"{hit.collection}/{hit.document}" for hit in signal.hits]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    judge, poster = Judge(), JsonPoster()
    async with scripted(judge) as server:
        made = Desk(tmp_path, server, poster, judge)
        yield made
        await made.library.close()
        await poster.close()


async def test_the_reranker_decides_the_order_and_is_booked(desk: Desk) -> None:
    await desk.fill(a=desk.reranker)
    assert (await desk.found(rerank=False))[0] == "a/one.md"
    assert not desk.judge.asked
    before = await desk.library.search("refund one day", ["a"], "t", rerank=False)
    after = await desk.library.search("refund one day", ["a"], "t")
    assert after.hits[0].document == "three.md"
    assert after.score == before.score, "what a threshold means stays what it was"
    assert desk.uses == [EmbeddingUse("a", "sharp:m", "rerank", 4, 42, None)]
    assert len(desk.judge.asked[0]) == 4
    assert "Note of a" in desk.judge.asked[0][0]


async def test_a_collections_passages_are_shown_to_its_own_reranker_only(desk: Desk) -> None:
    await desk.fill(a=desk.reranker, b=None)
    found = await desk.found("a", "b", limit=8)
    assert len(found) == 8
    assert found.index("a/three.md") < found.index("a/one.md")
    assert found.index("b/one.md") < found.index("b/three.md")
    assert all("in a." in text for text in desk.judge.asked[0])


@pytest.mark.parametrize("mood", ["refuses", "hangs", "likes nothing"])
async def test_when_it_fails_the_fused_order_serves(desk: Desk, mood: str, caplog: pytest.LogCaptureFixture) -> None:
    await desk.fill(a=desk.reranker)
    fused = await desk.found(rerank=False)
    desk.judge.mood = mood
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(10):
            assert await desk.found() == fused
    if mood == "likes nothing":
        return
    assert any("passages_not_reranked" in record.message for record in caplog.records)
    assert desk.uses == []
    # It is left alone for a while: not every call waits for it.
    desk.judge.mood = "ok"
    assert await desk.found() == fused
    assert len(desk.judge.asked) == 1


async def test_where_no_upstream_may_be_asked_it_is_not(desk: Desk) -> None:
    await desk.fill(a=desk.reranker)
    assert (await desk.found(local_only=True))[0] == "a/one.md"
    assert not desk.judge.asked


async def test_a_library_that_cannot_build_one_serves_the_fused_order(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("refund")
    sharp = RerankerSettings("sharp", "http://127.0.0.1:9", "m")
    settings = CollectionSettings("a", "", (SourceSettings("folder", str(docs)),), ("*",), reranker=sharp)
    library = Library(SqliteStore(tmp_path / "k.db"), [settings], {})
    await library.sync()
    assert (await library.search("refund", ["a"], "t")).hits
    await library.close()
