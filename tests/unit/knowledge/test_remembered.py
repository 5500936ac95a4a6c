import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from gateway.core.errors import AccountingUnavailable
from gateway.knowledge.embedders import Embedded, EmbedderFailed
from gateway.knowledge.embedders.remembered import QUESTION_SECONDS, Remembered
from tests.fakes.embedder import FakeEmbedder


class SlowEmbedder(FakeEmbedder):
    """Answers when `go` is set. begun, ended: how many askings were, and how many of them to the end."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.begun = self.ended = 0

    async def embed(self, texts: Sequence[str]) -> Embedded:
        self.begun += 1
        await self.go.wait()
        embedded = await super().embed(texts)
        self.ended += 1
        return embedded


class Desk:
    """Someone with questions. tokens: what was booked, in order."""

    def __init__(self, embedder: FakeEmbedder, most: int = 100) -> None:
        self.remembered = Remembered(embedder, most, rest_seconds=0)
        self.tokens: list[int | None] = []

    async def ask(self, text: str) -> bytes:
        return (await self.remembered.question(text, self.tokens.append)).tobytes()

    def asking(self, text: str) -> "asyncio.Task[bytes]":
        return asyncio.create_task(self.ask(text))


async def a_moment() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_question_is_embedded_and_booked_once() -> None:
    embedder = FakeEmbedder()
    desk = Desk(embedder)
    first = await desk.ask("how many days")
    assert await desk.ask("how many days") == first == (await embedder.embed(["how many days"])).rows[0].tobytes()
    assert await desk.ask("how many nights") != first
    assert desk.tokens == [3, 3]
    assert embedder.seen.count("how many days") == 2  # The second is this test's own.


async def test_the_longest_unused_goes_first() -> None:
    embedder = FakeEmbedder()
    desk = Desk(embedder, most=2)
    for text in ("one", "two", "one", "three", "one", "two"):
        await desk.ask(text)
    assert embedder.seen == ["one", "two", "three", "two"]


async def test_documents_are_neither_looked_up_nor_kept() -> None:
    embedder = FakeEmbedder()
    desk = Desk(embedder, most=1)
    await desk.ask("how many days")
    assert (await desk.remembered.embed(["how many days"])).tokens == 3
    await desk.remembered.embed(["a document"])
    await desk.ask("how many days")
    assert embedder.seen == ["how many days", "how many days", "a document"]


async def test_all_who_ask_at_once_share_one_computation() -> None:
    embedder = SlowEmbedder()
    desk = Desk(embedder)
    askings = [desk.asking("how many days") for _ in range(20)]
    await a_moment()
    embedder.go.set()
    assert len(set(await asyncio.gather(*askings))) == 1
    assert (embedder.begun, desk.tokens) == (1, [3])


async def test_a_failure_is_for_those_who_wait_and_is_not_kept() -> None:
    embedder = SlowEmbedder()
    embedder.broken = True
    desk = Desk(embedder)
    askings = [desk.asking("how many days") for _ in range(3)]
    await a_moment()
    embedder.go.set()
    outcomes = await asyncio.gather(*askings, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [EmbedderFailed] * 3
    embedder.broken = False
    assert await desk.ask("how many days")
    assert (embedder.begun, desk.tokens) == (2, [3])


async def test_who_leaves_takes_nothing_from_those_who_stay() -> None:
    """Not even the one who asked first, for whom it is booked."""
    embedder = SlowEmbedder()
    desk = Desk(embedder)
    first, second = desk.asking("how many days"), desk.asking("how many days")
    await a_moment()
    first.cancel()
    await a_moment()
    assert first.cancelled()
    embedder.go.set()
    assert await second
    assert (embedder.begun, embedder.ended, desk.tokens) == (1, 1, [3])


async def test_when_all_have_left_it_ends_and_the_next_begins_anew() -> None:
    embedder = SlowEmbedder()
    desk = Desk(embedder)
    askings = [desk.asking("how many days") for _ in range(2)]
    await a_moment()
    for asking in askings:
        asking.cancel()
    next_one = desk.asking("how many days")
    await a_moment()
    embedder.go.set()
    assert await next_one
    assert (embedder.begun, embedder.ended, desk.tokens) == (2, 1, [3])


async def test_what_could_not_be_booked_is_not_kept() -> None:
    embedder = FakeEmbedder()
    desk = Desk(embedder)

    def full(_tokens: int | None) -> None:
        raise AccountingUnavailable("The disk is full.")

    with pytest.raises(AccountingUnavailable):
        await desk.remembered.question("how many days", full)
    await desk.ask("how many days")
    assert desk.tokens == [3]


async def test_what_is_shared_cannot_be_written_to() -> None:
    row = await Remembered(FakeEmbedder()).question("how many days", lambda _tokens: None)
    assert np.linalg.norm(row) == pytest.approx(1)
    with pytest.raises(ValueError, match="read-only"):
        row[0] = 1


async def test_half_a_character_is_a_question_too() -> None:
    desk = Desk(FakeEmbedder())
    assert await desk.ask("how many \ud800") == await desk.ask("how many \ud800")
    assert desk.remembered.name == "fake:1"


async def test_after_a_failure_an_embedder_is_left_alone_for_a_while() -> None:
    """Who asks meanwhile is told at once, and is served by words; nobody waits for what just failed."""
    embedder = FakeEmbedder()
    embedder.broken = True
    remembered = Remembered(embedder, rest_seconds=60)
    with pytest.raises(EmbedderFailed, match="away"):
        await remembered.question("how many days", lambda _tokens: None)
    embedder.broken = False
    with pytest.raises(EmbedderFailed, match="left alone"):
        await remembered.question("another question", lambda _tokens: None)
    assert embedder.seen == []


async def test_an_embedder_that_hangs_costs_a_question_no_more_than_its_time() -> None:
    embedder = SlowEmbedder()
    remembered = Remembered(embedder, rest_seconds=60)
    began = asyncio.get_running_loop().time()
    with pytest.raises(EmbedderFailed, match="took over"):
        await remembered.question("how many days", lambda _tokens: None)
    assert asyncio.get_running_loop().time() - began < QUESTION_SECONDS + 3
    with pytest.raises(EmbedderFailed, match="left alone"):
        await remembered.question("how many days", lambda _tokens: None)
