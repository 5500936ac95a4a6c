"""A pass that is cut off goes on where it was, and what it says at its end is true all the same."""

import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.knowledge.connectors import Change, Fault, Mark, Removal, Upsert
from gateway.knowledge.connectors.jsonl import JsonlConnector
from gateway.knowledge.document import write_document
from gateway.knowledge.ingest import Ingest, SyncReport
from gateway.knowledge.settings import SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from gateway.knowledge.workers import Workers


class Killed(Exception):
    """What stands for the end of the process: nothing after it runs."""


class Told:
    """A source that tells a list of changes, and is killed where that says so. asked: the cursors it was given."""

    def __init__(self, *changes: Change | None) -> None:
        self._changes = changes
        self.asked: list[str | None] = []

    async def changes(self, cursor: str | None) -> AsyncIterator[Change]:
        self.asked.append(cursor)
        for change in self._changes:
            if change is None:
                raise Killed
            yield change


class Desk:
    def __init__(self, folder: Path) -> None:
        self.store = SqliteStore(folder / "k.db")
        self.workers = Workers()
        self.ingest = Ingest(self.store, self.workers, lambda: 1.0, lambda _use: None)

    async def read(self, connector: Told | JsonlConnector, kill_after: int | None = None) -> SyncReport | None:
        """A pass; None when it was killed."""

        def progress(_collection: str, count: int) -> None:
            if count == kill_after:
                raise Killed

        try:
            return await self.ingest.read("c", "s", connector, progress)
        except Killed:
            return None

    async def names(self) -> set[str]:
        return set(await self.store.documents("c", "s"))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    await made.workers.finish()
    await made.store.close()


def upsert(name: str, text: str = "") -> Upsert:
    return Upsert(write_document(name, name, text or f"text of {name}"))


def upserts(names: Sequence[str]) -> list[Upsert]:
    return [upsert(name) for name in names]


async def test_a_killed_pass_goes_on_from_its_mark_and_counts_all_it_named(desk: Desk) -> None:
    await desk.read(Told(*upserts("abxy"), Mark("0")))
    await desk.store.finish("c", "s", None, 1.0)  # A pass of before that changed something and was killed.
    killed = Told(*upserts("ab"), Mark("half"), *upserts("cd"), None)
    assert await desk.read(killed) is None
    rest = Told(*upserts("cde"), Mark("end"))
    report = await desk.read(rest)
    assert rest.asked == ["half"]
    assert await desk.names() == set("abcde")
    assert report is not None
    assert (report.removed, report.added) == (2, 3)
    assert await desk.store.cursor("c", "s") == "end"
    last = Told(Mark("end"))
    await desk.read(last)
    assert last.asked == ["end"]


async def test_what_a_fault_kept_before_the_kill_is_kept_after_it(desk: Desk) -> None:
    await desk.read(Told(*upserts(["kept/1", "kept/2", "gone", "a"]), Mark("0")))
    await desk.store.finish("c", "s", None, 1.0)
    fault = Fault("kept: cannot be read", "kept/*")
    assert await desk.read(Told(fault, upsert("a"), Mark("half"), upsert("b"), None)) is None
    await desk.read(Told(upsert("b"), Mark("end")))
    assert await desk.names() == {"kept/1", "kept/2", "a", "b"}


async def test_a_source_that_begins_anew_is_counted_anew(desk: Desk) -> None:
    assert await desk.read(Told(*upserts("ab"), Mark("half"), *upserts("c"), None)) is None
    report = await desk.read(Told(Mark(""), *upserts("bd"), Mark("end")))
    assert report is not None
    assert report.removed == 1
    assert await desk.names() == {"b", "d"}


async def test_changes_in_mid_pass_stay_in_their_order(desk: Desk) -> None:
    """A document that is told, removed and told again is there; batches must not pass each other by."""
    await desk.read(Told(upsert("a"), Removal("a"), upsert("b"), upsert("b", "again"), Removal("c"), Mark("end")))
    assert await desk.names() == {"b"}
    await desk.read(Told(Removal("b"), upsert("b"), Mark("end 2")))
    assert await desk.names() == {"b"}


async def test_a_source_that_went_away_in_mid_pass_removes_nothing(desk: Desk) -> None:
    await desk.read(Told(*upserts("abc"), Mark("0")))
    await desk.store.finish("c", "s", None, 1.0)
    report = await desk.read(Told(upsert("a"), Fault("away", "*")))
    assert report is not None
    assert report.removed == 0
    assert await desk.names() == set("abc")


async def test_a_thousand_faults_are_told_and_the_rest_is_counted(desk: Desk) -> None:
    report = await desk.read(Told(*[Fault(f"line {n}") for n in range(1_005)], Mark("end")))
    assert report is not None
    assert len(report.faults) == 1_001
    assert report.faults[-1] == "and 5 more lines like these."


def lines(count: int, first: int = 0, text: str = "text") -> str:
    return "".join(json.dumps({"id": str(n), "text": f"{text} {n}"}) + "\n" for n in range(first, count))


def old(path: Path, text: str) -> None:
    path.write_text(text)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**10 - len(text)))


async def test_a_large_file_is_read_on_where_it_was_and_no_line_twice(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    old(path, lines(3_000) + lines(1))
    connector = JsonlConnector(SourceSettings("jsonl", str(path)))
    assert await desk.read(connector, kill_after=2_500) is None
    seen = [change async for change in connector.changes((await desk.store.begin("c", "s")).cursor)]
    told = [change.document.id for change in seen if isinstance(change, Upsert)]
    assert told == [str(n) for n in range(2_048, 3_000)]
    report = await desk.read(connector)
    assert report is not None
    # That the last line repeats the first is known, though the first was read before the kill.
    assert "stands there twice" in report.faults[0]
    assert await desk.names() == {str(n) for n in range(3_000)}
    assert (await desk.read(connector)) == SyncReport(unchanged=3_000)


async def test_a_file_that_changed_while_nobody_read_is_read_from_its_beginning(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    old(path, lines(3_000))
    connector = JsonlConnector(SourceSettings("jsonl", str(path)))
    assert await desk.read(connector, kill_after=2_500) is None
    old(path, lines(3_000, first=1_500))
    await desk.read(connector)
    assert await desk.names() == {str(n) for n in range(1_500, 3_000)}
