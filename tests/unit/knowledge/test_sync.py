import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.core.errors import KnowledgeUnavailable, NotFound
from gateway.knowledge.embedders import Embedded
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.ingest import EmbeddingUse, SyncReport
from gateway.knowledge.library import Library
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from tests.fakes.embedder import FakeEmbedder


class SlowEmbedder(FakeEmbedder):
    """Asked for passages it waits until it is set free."""

    def __init__(self) -> None:
        super().__init__("slow:1", 32)
        self.asked = asyncio.Event()
        self.free = asyncio.Event()

    async def embed(self, texts: Sequence[str]) -> Embedded:
        if any("\n" in text for text in texts):  # A passage stands under its path, a question under nothing.
            self.asked.set()
            await self.free.wait()
        return await super().embed(texts)


class Desk:
    """A library over a folder `docs`, readable by everyone, with its store beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.docs = root / "docs"
        self.docs.mkdir()
        self.embedder = FakeEmbedder()
        self.uses: list[EmbeddingUse] = []
        self.store = SqliteStore(root / "knowledge.sqlite")
        self.library = Library(
            self.store, [self.settings()], {"fake": Remembered(self.embedder)}, booked=self.uses.append
        )

    def settings(self, embedder: str | None = None, *, path: Path | None = None) -> CollectionSettings:
        source = SourceSettings("folder", str(path or self.docs))
        return CollectionSettings("help", "Help", (source,), ("*",), embedder)

    def write(self, name: str, text: str) -> None:
        (self.docs / name).write_text(text)

    async def found(self, question: str) -> list[str]:
        return [hit.document for hit in (await self.library.search(question, ["help"], "t")).hits]

    async def until(self, question: str, documents: list[str], seconds: float = 5.0) -> float:
        """How long it took until the question finds exactly these."""
        start = time.monotonic()
        while sorted(await self.found(question)) != sorted(documents):
            assert time.monotonic() - start < seconds, f"{question!r} still finds {await self.found(question)}"
            await asyncio.sleep(0.01)
        return time.monotonic() - start


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    await made.library.close()


class TestSync:
    async def test_reports_what_was_done(self, desk: Desk) -> None:
        desk.write("a.md", "alpha")
        desk.write("b.md", "beta")
        assert await desk.library.sync() == SyncReport(added=2)
        desk.write("b.md", "beta changed")
        desk.write("c.md", "gamma")
        (desk.docs / "a.md").unlink()
        assert await desk.library.sync("help") == SyncReport(added=1, updated=1, removed=1)
        assert (await desk.library.sync()).unchanged == 2

    async def test_faults_are_reported_and_the_rest_is_loaded(self, desk: Desk) -> None:
        desk.write("t.jsonl", '{"id": 1, "text": "alpha"}\n{broken\n')
        report = await desk.library.sync()
        assert report.added == 1
        assert report.faults[0].startswith(f"{desk.docs}/t.jsonl:2: ")

    async def test_progress_counts_documents(self, desk: Desk) -> None:
        for n in range(3):
            desk.write(f"{n}.md", "text")
        seen: list[tuple[str, int]] = []
        await desk.library.sync(progress=lambda name, count: seen.append((name, count)))
        assert seen == [("help", 1), ("help", 2), ("help", 3)]

    async def test_an_unknown_collection_is_not_found(self, desk: Desk) -> None:
        with pytest.raises(NotFound, match="'nope'"):
            await desk.library.sync("nope")

    async def test_a_pass_that_was_killed_misses_no_removal(self, desk: Desk) -> None:
        """Killed after `b` was stored and before the cursor was: then `b` is deleted at the source."""
        desk.write("a.md", "alpha")
        desk.write("b.md", "beta")
        await desk.library.sync()
        source = desk.settings().sources[0].key
        cursor = await desk.store.cursor("help", source)
        desk.write("b.md", "beta new")
        await desk.library.sync()
        await desk.store.remove("help", source, "zzz")
        await desk.store.finish("help", source, cursor, 0.0)  # as if only the older cursor had been written
        desk.write("c.md", "gamma")
        await desk.library.sync()
        await desk.store.finish("help", source, None, 0.0)  # as a pass cut off after its first write leaves it
        (desk.docs / "c.md").unlink()
        assert (await desk.library.sync()).removed == 1
        assert await desk.found("gamma") == []

    async def test_a_folder_that_is_away_keeps_its_documents(self, desk: Desk) -> None:
        desk.write("a.md", "alpha")
        await desk.library.sync()
        desk.docs.rename(desk.root / "away")
        report = await desk.library.sync()
        assert report.removed == 0
        assert "cannot be read" in report.faults[0]
        assert await desk.found("alpha") == ["a.md"]


class TestEmbedding:
    async def test_vectors_follow_and_are_booked(self, desk: Desk) -> None:
        desk.library.replace([desk.settings("fake")])
        desk.write("a.md", "Our holiday allowance.")
        desk.write("b.md", "Parking on site.")
        await desk.library.sync()
        assert {(use.purpose, use.texts) for use in desk.uses} == {("ingest", 2)}
        signal = await desk.library.search("vacation", ["help"], "t")
        assert signal.hits[0].document == "a.md"
        assert desk.uses[-1].purpose == "query"
        assert desk.uses[-1].tokens == 1

    async def test_a_question_asked_again_is_neither_embedded_nor_booked_again(self, desk: Desk) -> None:
        desk.library.replace([desk.settings("fake")])
        desk.write("a.md", "Our holiday allowance.")
        await desk.library.sync()
        once = await desk.library.search("vacation", ["help"], "t")
        booked = len(desk.uses)
        assert await desk.library.search("vacation", ["help"], "t") == once
        assert desk.embedder.seen.count("vacation") == 1
        assert len(desk.uses) == booked

    async def test_an_edit_embeds_only_what_changed(self, desk: Desk) -> None:
        desk.library.replace([desk.settings("fake")])
        desk.write("a.md", "alpha")
        desk.write("b.md", "beta")
        await desk.library.sync()
        desk.embedder.seen.clear()
        desk.write("b.md", "beta two")
        await desk.library.sync()
        assert desk.embedder.seen == ["b\nbeta two"]

    async def test_without_its_embedder_words_still_answer(self, desk: Desk) -> None:
        desk.library.replace([desk.settings("fake")])
        desk.embedder.broken = True
        desk.write("a.md", "alpha")
        report = await desk.library.sync()
        assert "wait for vectors" in report.faults[0]
        assert await desk.found("alpha") == ["a.md"]
        desk.embedder.broken = False
        assert (await desk.library.sync()).faults == ()
        assert desk.embedder.seen


class TestSearch:
    async def test_the_signal_carries_version_score_and_hits(self, desk: Desk) -> None:
        desk.write("a.md", "Refunds take five days.")
        await desk.library.sync()
        signal = await desk.library.search("How many days do refunds take?", ["help"], "t")
        assert signal.score == signal.hits[0].score > 0.5
        assert signal.version == str(await desk.store.version())

    async def test_unknown_and_unreadable_collections_look_the_same(self, desk: Desk) -> None:
        closed = CollectionSettings("closed", "", desk.settings().sources, ("legal",))
        desk.library.replace([desk.settings(), closed])
        desk.write("a.md", "alpha")
        await desk.library.sync()
        assert await desk.library.search("alpha", ["closed"], "t") == await desk.library.search("alpha", ["no"], "t")
        assert (await desk.library.search("alpha", ["closed"], "legal")).hits
        assert desk.library.readable("t") == ("help",)

    async def test_copies_take_one_place(self, desk: Desk) -> None:
        for n in range(5):
            desk.write(f"copy{n}.md", "Refunds take five working days after the parcel is back.")
        desk.write("other.md", "Refunds of gift cards are not possible.")
        await desk.library.sync()
        assert len(await desk.found("refunds")) == 2

    async def test_new_settings_hold_for_the_next_search(self, desk: Desk) -> None:
        desk.write("a.md", "alpha")
        await desk.library.sync()
        desk.library.replace([])
        assert await desk.found("alpha") == []
        desk.library.replace([desk.settings()])
        assert await desk.found("alpha") == ["a.md"]

    async def test_a_source_no_longer_named_is_removed_by_the_next_sync(self, desk: Desk) -> None:
        desk.write("a.md", "alpha")
        await desk.library.sync()
        other = desk.root / "other"
        other.mkdir()
        (other / "b.md").write_text("beta")
        desk.library.replace([desk.settings(path=other)])
        report = await desk.library.sync()
        assert (report.added, report.removed) == (1, 1)
        assert await desk.found("alpha") == []


class TestWatch:
    @pytest.fixture
    async def watched(self, desk: Desk) -> AsyncIterator[Desk]:
        task = asyncio.create_task(desk.library.watch())
        desk.write("start.md", "beginning")
        await desk.until("beginning", ["start.md"])
        yield desk
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_saves_of_all_kinds_are_noticed_within_a_second(self, watched: Desk) -> None:
        watched.write("a.md", "alpha")
        seconds = [await watched.until("alpha", ["a.md"])]
        watched.write("a.md", "omega")
        seconds.append(await watched.until("omega", ["a.md"]))
        assert await watched.found("alpha") == []
        (watched.docs / ".tmp").write_text("delta")
        (watched.docs / ".tmp").replace(watched.docs / "a.md")
        seconds.append(await watched.until("delta", ["a.md"]))
        (watched.docs / "deep" / "er").mkdir(parents=True)
        (watched.docs / "deep" / "er" / "b.md").write_text("epsilon")
        seconds.append(await watched.until("epsilon", ["deep/er/b.md"]))
        (watched.docs / "a.md").unlink()
        seconds.append(await watched.until("delta", []))
        assert max(seconds) < 2.0, seconds  # the promise is one second; the rest is a busy test machine

    async def test_a_replaced_jsonl_file_is_noticed(self, watched: Desk) -> None:
        path = watched.root / "t.jsonl"
        source = SourceSettings("jsonl", str(path))
        watched.library.replace([CollectionSettings("help", "", (source,), ("*",))])
        path.write_text('{"id": "one", "text": "alpha"}\n')
        await watched.until("alpha", ["one"])
        (watched.root / "new").write_text('{"id": "two", "text": "omega"}\n')
        (watched.root / "new").replace(path)
        await watched.until("omega", ["two"])

    async def test_a_folder_made_later_is_taken_up(self, watched: Desk) -> None:
        later = watched.root / "later"
        watched.library.replace([watched.settings(path=later)])
        await watched.until("beginning", [])
        later.mkdir()
        (later / "a.md").write_text("alpha")
        await watched.until("alpha", ["a.md"])

    async def test_close_ends_it(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path)
        task = asyncio.create_task(desk.library.watch())
        desk.write("a.md", "alpha")
        await desk.until("alpha", ["a.md"])
        for n in range(50):
            desk.write(f"{n}.md", f"alpha {n}")
        await asyncio.sleep(0.1)  # Long enough for a pass to have begun.
        await desk.library.close()
        await asyncio.wait_for(task, 2.0)
        with pytest.raises(KnowledgeUnavailable):
            await desk.found("alpha")

    async def test_a_file_that_hangs_holds_up_no_other_source(self, watched: Desk) -> None:
        """A named pipe: who reads it waits, as a load of a large folder takes its time."""
        slow = watched.root / "slow"
        slow.mkdir()
        os.mkfifo(slow / "pipe.md")
        other = CollectionSettings("slow", "", (SourceSettings("folder", str(slow)),), ("*",))
        watched.library.replace([other, watched.settings()])
        writer = await asyncio.to_thread(os.open, slow / "pipe.md", os.O_WRONLY)  # Returns when it is being read.
        try:
            watched.write("a.md", "alpha")
            await watched.until("alpha", ["a.md"])
        finally:
            os.close(writer)

    async def test_a_slow_embedder_holds_up_no_words(self, watched: Desk) -> None:
        embedder = SlowEmbedder()
        watched.library.replace([watched.settings("slow")], {"slow": Remembered(embedder)})
        await asyncio.wait_for(embedder.asked.wait(), 5.0)
        for word in ("alpha", "holiday"):
            watched.write("a.md", word)
            await watched.until(word, ["a.md"])
        assert "a.md" not in await watched.found("vacation")
        embedder.free.set()
        await watched.until("vacation", ["a.md", "start.md"])  # By meaning; the other is near enough to be a hit.

    async def test_what_was_noted_while_a_pass_was_in_hand_is_read_after_it(self, watched: Desk) -> None:
        os.mkfifo(watched.docs / "pipe.md")
        writer = await asyncio.to_thread(os.open, watched.docs / "pipe.md", os.O_WRONLY)
        watched.write("a.md", "alpha")
        await asyncio.sleep(0.4)  # Longer than the watcher takes to tell of it.
        (watched.docs / "pipe.md").unlink()
        os.close(writer)
        await watched.until("alpha", ["a.md"])

    async def test_close_waits_for_no_embedder(self, tmp_path: Path) -> None:
        desk, embedder = Desk(tmp_path), SlowEmbedder()
        desk.library.replace([desk.settings("slow")], {"slow": Remembered(embedder)})
        desk.write("a.md", "alpha")
        task = asyncio.create_task(desk.library.watch())
        await asyncio.wait_for(embedder.asked.wait(), 5.0)
        await asyncio.wait_for(desk.library.close(), 5.0)
        await task


async def test_a_start_leaves_vectors_to_the_watcher(desk: Desk) -> None:
    embedder = SlowEmbedder()
    desk.library.replace([desk.settings("slow")], {"slow": Remembered(embedder)})
    desk.write("a.md", "alpha")
    assert (await desk.library.sync(is_local=True)).added == 1
    assert not embedder.asked.is_set()


class TestAnotherEmbedder:
    async def ready(self, desk: Desk) -> tuple[FakeEmbedder, dict[str, Remembered]]:
        """A collection with the vectors of `fake`, and a second embedder beside it."""
        other = FakeEmbedder("other:1", 32)
        both = {"fake": Remembered(desk.embedder), "other": Remembered(other)}
        desk.library.replace([desk.settings("fake")], both)
        desk.write("a.md", "Our holiday allowance.")
        desk.write("b.md", "Parking on site.")
        await desk.library.sync()
        return other, both

    async def test_the_old_vectors_answer_until_the_new_ones_are_complete(self, desk: Desk) -> None:
        other, _ = await self.ready(desk)
        desk.library.replace([desk.settings("other")])
        other.broken = True
        assert "wait for vectors" in (await desk.library.sync()).faults[0]
        # `vacation` shares no word with what it finds: only vectors can have found it, and only the old are there.
        assert await desk.found("vacation") == ["a.md", "b.md"]
        assert desk.uses[-1].embedder == "fake:1"
        assert await desk.store.serving() == {"help": "fake:1"}
        other.broken = False
        await desk.library.sync()
        assert await desk.store.serving() == {"help": "other:1"}
        assert (await desk.found("vacation"))[0] == "a.md"
        assert desk.uses[-1].embedder == "other:1"
        assert len(await desk.store.pending("help", "fake:1", 10)) == 2, "the old vectors are dropped"

    async def test_half_made_vectors_do_not_answer(self, desk: Desk) -> None:
        """A search by some new vectors would not know the chunks that have none."""
        await self.ready(desk)
        (first, _) = await desk.store.pending("help", "other:1", 10)
        row = (await FakeEmbedder("other:1", 32).embed(["Our holiday allowance."])).rows
        await desk.store.put_vectors("help", "other:1", (first.id,), row)
        desk.library.replace([desk.settings("other")])
        assert await desk.found("vacation") == ["a.md", "b.md"]
        assert desk.uses[-1].embedder == "fake:1"

    async def test_when_the_old_embedder_is_configured_no_more_words_serve_meanwhile(self, desk: Desk) -> None:
        other, both = await self.ready(desk)
        other.broken = True
        desk.library.replace([desk.settings("other")], {"other": both["other"]})
        await desk.library.sync()
        assert await desk.found("vacation") == []
        assert await desk.found("parking") == ["b.md"]
        other.broken = False
        await desk.library.sync()
        assert (await desk.found("vacation"))[0] == "a.md"

    async def test_an_edit_meanwhile_is_found_by_its_words_and_gets_the_new_vector_only(self, desk: Desk) -> None:
        other, _ = await self.ready(desk)
        desk.library.replace([desk.settings("other")])
        other.broken = True
        await desk.library.sync()
        desk.embedder.seen.clear()
        desk.write("c.md", "Swordfish in the canteen.")
        await desk.library.sync()
        assert (await desk.found("swordfish"))[0] == "c.md"
        assert desk.embedder.seen == ["swordfish"]

    async def test_back_to_the_first_before_it_is_complete_costs_nothing(self, desk: Desk) -> None:
        other, _ = await self.ready(desk)
        desk.library.replace([desk.settings("other")])
        other.broken = True
        await desk.library.sync()
        desk.embedder.seen.clear()
        desk.library.replace([desk.settings("fake")])
        assert (await desk.library.sync()).faults == ()
        assert desk.embedder.seen == []
        assert await desk.store.serving() == {"help": "fake:1"}
