"""Looking at single files comes to the same as a whole walk, and a kill in between costs nothing."""

import os
import random
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.knowledge.connectors import Change, Mark
from gateway.knowledge.ingest import Ingest, SyncReport
from gateway.knowledge.settings import SourceSettings
from gateway.knowledge.stores.sqlite import SqliteStore
from gateway.knowledge.walks import Walk, walk_key
from gateway.knowledge.workers import Workers


class Desk:
    """A folder that is kept in collection `c`."""

    def __init__(self, root: Path, *include: str) -> None:
        self.docs = root / "docs"
        self.docs.mkdir()
        self.source = SourceSettings("folder", str(self.docs), include)
        self.store = SqliteStore(root / "k.db")
        self.workers = Workers()
        self.ingest = Ingest(self.store, self.workers, lambda: 1.0, lambda _use: None)

    def write(self, name: str, text: str) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        # Long ago, and at another time for another text: what is not looked at is believed to be the same.
        os.utime(path, ns=(10**18, 10**18 + hash(text) % 10**9))
        return path

    def walk(self) -> Walk:
        return Walk(self.store, "c", self.source, lambda: 1.0)

    async def walked(self) -> SyncReport:
        return await self.ingest.read("c", self.source.key, self.walk())

    async def looked(self, *paths: Path) -> SyncReport | None:
        found = await self.walk().look(paths)
        return None if found is None else await self.ingest.touch("c", self.source.key, found)

    async def large(self) -> str | None:
        return await self.store.cursor("c", walk_key(self.source))

    async def names(self) -> set[str]:
        return set(await self.store.documents("c", self.source.key))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    await made.workers.finish()
    await made.store.close()


async def test_an_edit_is_read_by_itself_and_rewrites_nothing_large(desk: Desk) -> None:
    for n in range(50):
        desk.write(f"{n}.md", f"text {n}")
    await desk.walked()
    large = await desk.large()
    unseen = desk.write("7.md", "changed, and nobody told")
    report = await desk.looked(desk.write("3.md", "changed"), desk.write("new/a.md", "made"))
    assert report == SyncReport(added=1, updated=1)
    assert await desk.large() == large
    assert len(await desk.store.cursor("c", desk.source.key) or "") < 100
    assert await desk.walked() == SyncReport(updated=1, unchanged=50)
    assert await desk.looked(unseen) == SyncReport()
    assert await desk.large() != large
    assert await desk.walked() == SyncReport(unchanged=51)


async def test_what_is_gone_is_removed_with_all_that_stood_in_it(desk: Desk) -> None:
    for name in ("a.md", "a/b.md", "a/c/d.md", "ab/e.md", "f.md"):
        desk.write(name, name)
    desk.write("g.jsonl", '{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n')
    await desk.walked()
    shutil.rmtree(desk.docs / "a")
    (desk.docs / "f.md").unlink()
    report = await desk.looked(desk.docs / "a", desk.docs / "f.md", desk.docs / "f.md~")
    assert report == SyncReport(removed=3)
    desk.write("g.jsonl", '{"id": 2, "text": "two"}\n{"id": 3, "text": "three"}\n')
    assert await desk.looked(desk.docs / "g.jsonl") == SyncReport(added=1, removed=1)
    (desk.docs / "g.jsonl").unlink()
    assert (await desk.walked()).removed == 2, "also the line that no walk had seen"
    assert await desk.names() == {"a.md", "ab/e.md"}


async def test_the_rules_of_a_walk_hold(desk: Desk, tmp_path: Path) -> None:
    await desk.walked()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "s.md").write_text("secret")
    (desk.docs / "link.md").symlink_to(outside / "s.md")
    (desk.docs / "linked").symlink_to(outside)
    desk.write("ok.md", "fine")
    (desk.docs / "inner.md").symlink_to(desk.docs / "ok.md")
    desk.write(".hidden/a.md", "hidden")
    desk.write("deep/.b.md", "hidden")
    desk.write("c.exe", "no text")
    named = [path for path in desk.docs.rglob("*") if path.name != "deep"]
    await desk.looked(*named, desk.docs / "linked" / "s.md", outside / "s.md")
    assert await desk.names() == {"ok.md", "inner.md"}
    assert await desk.walked() == SyncReport(unchanged=2)


async def test_include_holds_and_a_folder_is_looked_through(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "in/*")
    await desk.walked()
    desk.write("in/deep/a.md", "a")
    desk.write("out/b.md", "b")
    assert await desk.looked(desk.docs / "in", desk.docs / "out") == SyncReport(added=1)
    await desk.workers.finish()
    await desk.store.close()


async def test_without_a_walk_before_it_or_a_folder_looking_tells_nothing(desk: Desk) -> None:
    path = desk.write("a.md", "alpha")
    assert await desk.looked(path) is None
    await desk.walked()
    assert await desk.looked(desk.docs) is None
    desk.docs.rename(desk.docs.with_name("away"))
    assert await desk.looked(path) is None


async def test_a_kill_between_the_edit_and_its_cursor_misses_no_removal(desk: Desk) -> None:
    desk.write("a.md", "alpha")
    await desk.walked()
    path = desk.write("b.md", "beta")
    found = await desk.walk().look([path])
    assert found is not None
    changes = [change async for change in found]
    assert isinstance(changes.pop(), Mark)

    async def cut_off() -> AsyncIterator[Change]:
        for change in changes:
            yield change

    await desk.ingest.touch("c", desk.source.key, cut_off())
    assert await desk.names() == {"a.md", "b.md"}
    path.unlink()
    assert await desk.looked(path) is None
    assert (await desk.walked()).removed == 1


async def test_two_parts_that_do_not_fit_begin_anew(desk: Desk) -> None:
    """Killed after the large part was written and before the small: then a file is gone."""
    path = desk.write("a.md", "alpha")
    desk.write("b.md", "beta")
    await desk.walked()
    await desk.store.finish("c", walk_key(desk.source), "{}", 1.0)
    path.unlink()
    assert await desk.walked() == SyncReport(removed=1, unchanged=1)
    assert await desk.walked() == SyncReport(unchanged=1)


async def test_a_cursor_of_before_there_were_two_parts_is_read(desk: Desk) -> None:
    path = desk.write("a.md", "alpha")
    await desk.walked()
    await desk.store.finish("c", desk.source.key, await desk.large(), 1.0)
    path.unlink()
    assert (await desk.walked()).removed == 1


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_of_looks_walks_and_lost_events_comes_to_the_same(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"{folder}{n}.{kind}" for folder in ("", "x/", "x/y/") for n in range(3) for kind in ("md", "jsonl")]
    for step in range(60):
        path = desk.docs / chance.choice(names)
        if chance.random() < 0.4 and path.exists():
            path.unlink()
        elif path.suffix == ".jsonl":
            lines = [f'{{"id": {n}, "text": "{step}"}}\n' for n in range(4) if chance.random() < 0.5]
            desk.write(path.relative_to(desk.docs).as_posix(), "".join(lines))
        else:
            desk.write(path.relative_to(desk.docs).as_posix(), f"text {step}")
        if chance.random() < 0.6:
            await desk.looked(path)
        if chance.random() < 0.15:
            await desk.walked()
    await desk.walked()
    there = await desk.names()
    texts = {name: await desk.store.texts("c", "t", name) for name in there}
    await desk.store.keep_sources("c", ())
    await desk.walked()
    assert await desk.names() == there
    assert {name: await desk.store.texts("c", "t", name) for name in there} == texts
