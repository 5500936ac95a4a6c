"""Remote sources are asked at their own pace, and hold up nobody."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.knowledge.connectors.website import WebsiteSettings
from gateway.knowledge.connectors.zendesk import ZendeskSettings
from gateway.knowledge.ingest import SyncReport
from gateway.knowledge.library import Library
from gateway.knowledge.polling import Observed, Poller, SourceRecord, SourceRecords, after_pass
from gateway.knowledge.settings import CollectionSettings, SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from tests.fakes.api_server import Answer, ApiServer, Asked, serving
from tests.fakes.asking import QUICK
from tests.fakes.places.website_place import WebsitePlace
from tests.fakes.places.zendesk_place import ZendeskPlace
from tests.fakes.scripted_server import Visit, scripted


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


class Desk:
    """A library with a folder and whatever remote sources a test gives it, all in collection `help`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.docs = root / "docs"
        self.docs.mkdir()
        self.records = SourceRecords(root / "sources.json")
        self.library = Library(SqliteStore(root / "knowledge.sqlite"), [], {}, records=self.records)
        self.tasks: list[asyncio.Task[None]] = []

    def take(self, *sources: SourceSettings) -> None:
        both = (SourceSettings("folder", str(self.docs)), *sources)
        self.library.replace([CollectionSettings("help", "Help", both, ("*",))])

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self.library.watch()), asyncio.create_task(self.library.poll())]

    async def finds(self, question: str) -> list[str]:
        return [hit.document for hit in (await self.library.search(question, ["help"], "t")).hits]

    async def until(self, question: str, *documents: str) -> None:
        async def found() -> bool:
            return sorted(await self.finds(question)) == sorted(documents)

        await until(found)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.library.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    await made.stop()


@pytest.fixture
def place() -> WebsitePlace:
    return WebsitePlace()


@pytest.fixture
async def server(place: WebsitePlace) -> AsyncIterator[ApiServer]:
    async with serving(place.answer) as started:
        place.url = started.url
        yield started


async def test_edits_and_deletions_come_with_the_next_pass(desk: Desk, place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha", "b": "beta"})
    desk.take(WebsiteSettings("website", server.url, every_seconds=0.05, **QUICK))
    desk.start()
    await desk.until("alpha", f"{server.url}/a")
    place.write({"a": "omega"})
    await desk.until("omega", f"{server.url}/a")
    await desk.until("beta")
    await desk.until("alpha")


async def test_a_website_that_hangs_holds_up_no_folder(desk: Desk) -> None:
    async def hang(visit: Visit) -> None:
        await visit.gone()

    async with scripted(hang) as server:
        url = f"http://127.0.0.1:{server.origin.port}"
        desk.take(WebsiteSettings("website", url, every_seconds=0.05, **QUICK))
        desk.start()
        await server.until(lambda: len(server.visits) > 0)
        for word in ("alpha", "omega"):
            (desk.docs / "a.md").write_text(word)
            await desk.until(word, "a.md")
        assert len(server.visits) == 1  # still the same request: the folder did not wait for its end
        await desk.stop()
        desk.tasks = []


async def test_a_source_that_is_named_no_more_is_asked_no_more(
    desk: Desk, place: WebsitePlace, server: ApiServer
) -> None:
    place.write({"a": "alpha"})
    desk.take(WebsiteSettings("website", server.url, every_seconds=0.02, **QUICK))
    desk.start()
    await desk.until("alpha", f"{server.url}/a")
    desk.take()
    (desk.docs / "b.md").write_text("beta")
    await desk.until("beta", "b.md")
    await desk.until("alpha")
    count = len(server.asked)
    await asyncio.sleep(0.2)
    assert len(server.asked) <= count + 1


async def test_other_settings_are_in_force_at_once_and_not_at_the_next_turn(
    desk: Desk, place: WebsitePlace, server: ApiServer
) -> None:
    place.write({"docs/a": "alpha", "blog/b": "beta"})
    desk.take(WebsiteSettings("website", server.url, every_seconds=3600, **QUICK))
    desk.start()
    await desk.until("beta", f"{server.url}/blog/b")
    desk.take(WebsiteSettings("website", server.url, every_seconds=3600, include=("/docs/*",), **QUICK))
    await desk.until("beta")
    await desk.until("alpha", f"{server.url}/docs/a")


async def test_each_source_says_how_it_is(desk: Desk, place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha", "b": "beta"})
    place.more["/b"] = Answer(b"", 403)
    settings = WebsiteSettings("website", server.url, every_seconds=600, **QUICK)
    desk.take(settings)
    await desk.library.sync()
    folder, site = desk.library.sources()
    assert (folder.kind, folder.record.documents, folder.record.next_at) == ("folder", 0, None)
    assert (site.kind, site.place, site.record.documents, site.record.failures) == ("website", server.url, 1, 0)
    assert site.record.success_at is not None
    assert site.record.next_at == pytest.approx(site.record.success_at + 600)
    assert "403" in site.record.faults[0]
    key = f"help:{settings.key}"
    assert SourceRecords(desk.root / "sources.json").get(key) == site.record
    assert desk.library.passed[key] == site.record.success_at
    place.is_away = True
    await desk.library.sync()
    failed = desk.library.sources()[1].record
    assert (failed.success_at, failed.documents, failed.failures) == (site.record.success_at, 1, 1)
    assert await desk.finds("alpha") == [f"{server.url}/a"]


async def test_a_start_leaves_remote_sources_to_the_poller(desk: Desk, place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha"})
    (desk.docs / "b.md").write_text("beta")
    desk.take(WebsiteSettings("website", server.url, **QUICK))
    assert (await desk.library.sync(is_local=True)).added == 1
    assert not server.asked


async def test_a_pass_that_broke_off_goes_on_and_loses_nothing(desk: Desk) -> None:
    place = ZendeskPlace(page_size=100)
    place.write({f"d{number}": f"word{number}" for number in range(250)})

    def fail(asked: Asked) -> None:
        if asked.one("page[after]") and len(asked_place.asked) == 2:
            asked_place.first = [Answer(status=403)]

    async with serving(place.answer) as asked_place:
        place.url = asked_place.url
        asked_place.before = fail
        desk.take(ZendeskSettings("zendesk", asked_place.url, **QUICK))
        first = await desk.library.sync()
        assert first.added == 100
        assert first.faults
        asked_place.before = lambda _asked: None
        asked_place.asked.clear()
        place.write({name: text for name, text in place.texts.items() if name != "d0"})
        second = await desk.library.sync()
        assert second.added == 150
        assert "page[after]" in dict(asked_place.asked[0].query)
        third = await desk.library.sync()
        assert (third.added, third.removed) == (0, 1)
        assert await desk.finds("word0") == []
        assert await desk.finds("word249") == ["250"]


async def test_restricted_documents_reach_only_the_teams_that_are_named(desk: Desk) -> None:
    place = ZendeskPlace()
    place.write({"a": "open word", "b": "secret word"})
    place.more = {"b": {"user_segment_id": 7}}
    async with serving(place.answer) as server:
        place.url = server.url
        desk.take(ZendeskSettings("zendesk", server.url, restricted=("agents",), **QUICK))
        await desk.library.sync()
        for team, seen in (("agents", {"1", "2"}), ("others", {"1"})):
            hits = (await desk.library.search("word", ["help"], team)).hits
            assert {hit.document for hit in hits} == seen


class TestAfterPass:
    SOURCE = WebsiteSettings("website", "http://x.test", every_seconds=60)

    def test_failures_double_the_pause_up_to_an_hour(self) -> None:
        record = SourceRecord(success_at=5.0, documents=7)
        pauses = []
        for _ in range(9):
            record = after_pass(record, self.SOURCE, Observed(), SyncReport(faults=("away",)), 1000.0)
            pauses.append((record.next_at or 0) - 1000)
        assert pauses == [120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
        assert (record.success_at, record.documents, record.failures) == (5.0, 7, 9)

    def test_a_place_that_asks_for_more_time_gets_it(self) -> None:
        seen = Observed()
        seen.retry_after_seconds = 7200.0
        record = after_pass(SourceRecord(), self.SOURCE, seen, SyncReport(), 1000.0)
        assert record.next_at == 8200.0

    def test_a_success_forgets_failures(self) -> None:
        seen = Observed()
        seen.is_whole = True
        before = SourceRecord(failures=5, next_at=9999.0)
        record = after_pass(before, self.SOURCE, seen, SyncReport(added=2, unchanged=3), 1000.0)
        assert (record.failures, record.next_at, record.documents) == (0, 1060.0, 5)


def test_records_that_cannot_be_read_or_written_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sources.json"
    path.write_text("{broken")
    records = SourceRecords(path)
    assert records.get("x") == SourceRecord()
    records.put("x", SourceRecord(failures=1), ["x"])
    assert SourceRecords(path).get("x").failures == 1
    nowhere = SourceRecords(tmp_path / "missing" / "sources.json")
    nowhere.put("x", SourceRecord(failures=2), ["x"])
    assert nowhere.get("x").failures == 2


async def test_a_pass_that_fails_unforeseen_is_made_again() -> None:
    passes = 0

    async def failing(_settings: CollectionSettings, _source: SourceSettings) -> None:
        nonlocal passes
        passes += 1
        raise RuntimeError("unforeseen")

    async def thrice() -> bool:
        return passes >= 3

    source = WebsiteSettings("website", "http://x.test", every_seconds=0.01)
    poller = Poller(failing, lambda _settings, _source: 0.0)
    await poller.replace([CollectionSettings("help", sources=(source,))])
    await until(thrice)
    await poller.close()
