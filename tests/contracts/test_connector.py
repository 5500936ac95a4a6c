"""What every connector promises. A new one joins by one entry in SOURCES: how its source is written to."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.knowledge.connectors import Change, Connector, Fault, Mark, Removal, Upsert
from gateway.knowledge.connectors.confluence import ConfluenceConnector, ConfluenceSettings
from gateway.knowledge.connectors.folder import FolderConnector
from gateway.knowledge.connectors.freshdesk import FreshdeskConnector, FreshdeskSettings
from gateway.knowledge.connectors.freshdesk_tickets import FreshdeskTicketsConnector, FreshdeskTicketsSettings
from gateway.knowledge.connectors.git import GitConnector, GitSettings
from gateway.knowledge.connectors.google_docs import GoogleDocsConnector, GoogleDocsSettings
from gateway.knowledge.connectors.jsonl import JsonlConnector
from gateway.knowledge.connectors.notion import NotionConnector, NotionSettings
from gateway.knowledge.connectors.website import WebsiteConnector, WebsiteSettings
from gateway.knowledge.connectors.zendesk import ZendeskConnector, ZendeskSettings
from gateway.knowledge.connectors.zendesk_tickets import ZendeskTicketsConnector, ZendeskTicketsSettings
from gateway.knowledge.settings import SourceSettings
from gateway.knowledge.sources import KINDS
from tests.fakes.api_server import Answer, ApiServer, Asked, in_json, serving
from tests.fakes.places.confluence_place import ConfluencePlace
from tests.fakes.places.freshdesk_place import FreshdeskPlace
from tests.fakes.places.google_place import GooglePlace
from tests.fakes.places.notion_place import NotionPlace
from tests.fakes.places.website_place import WebsitePlace
from tests.fakes.places.zendesk_place import ZendeskPlace

Write = Callable[[dict[str, str]], None]


class Place:
    """A source under test: `write` makes its documents exactly these. names: ids as the tests know them.

    server: what answers for a place on a network.
    """

    def __init__(
        self,
        connector: Connector,
        write: Write,
        vanish: Callable[[], object],
        names: Callable[[str], str] = lambda identity: identity.removesuffix(".md"),
        server: ApiServer | None = None,
    ) -> None:
        self.connector = connector
        self.write = write
        self.vanish = vanish
        self.names = names
        self.server = server


class Hours:
    """A clock that moves two hours each time it is read: each pass is then a whole one."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 7200.0
        return self.now


async def folder_place(tmp_path: Path, _stack: AsyncExitStack) -> Place:
    root = tmp_path / "docs"
    root.mkdir()

    def write(documents: dict[str, str]) -> None:
        write_files(root, documents)

    return Place(FolderConnector(SourceSettings("folder", str(root))), write, lambda: root.rename(tmp_path / "away"))


async def jsonl_place(tmp_path: Path, _stack: AsyncExitStack) -> Place:
    path = tmp_path / "docs.jsonl"

    def write(documents: dict[str, str]) -> None:
        path.write_text("".join(json.dumps({"id": f"{n}.md", "text": text}) + "\n" for n, text in documents.items()))
        settle(path)

    return Place(JsonlConnector(SourceSettings("jsonl", str(path))), write, path.unlink)


async def git_place(tmp_path: Path, _stack: AsyncExitStack) -> Place:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")

    def write(documents: dict[str, str]) -> None:
        write_files(root, documents)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--allow-empty", "--message=edit")

    settings = GitSettings("git", str(root), mirrors=str(tmp_path / "mirrors"))
    return Place(GitConnector(settings), write, lambda: root.rename(tmp_path / "away"))


async def http_place(kind: str, tmp_path: Path, stack: AsyncExitStack) -> Place:
    place, make = REMOTE[kind]
    edits = place()
    server = await stack.enter_async_context(serving(edits.answer))
    edits.url = server.url
    token = tmp_path / "token"
    token.write_text(json.dumps(edits.account()) if isinstance(edits, GooglePlace) else "s3cret")

    def vanish() -> None:
        edits.is_away = True

    names = (lambda identity: identity.rsplit("/", 1)[1]) if kind == "website" else edits.name_of
    return Place(make(server.url, f"file:{token}"), edits.write, vanish, names, server)


# How each place is asked in these tests: fast, and with a clock of their own.
QUICK: dict[str, Any] = {"requests_per_second": 1000.0}
REMOTE: dict[str, tuple[Callable[[], Any], Callable[[str, str], Connector]]] = {
    "confluence": (
        ConfluencePlace,
        lambda url, token: ConfluenceConnector(
            ConfluenceSettings("confluence", url, username="u", token=token, **QUICK), Hours()
        ),
    ),
    "freshdesk": (
        FreshdeskPlace,
        lambda url, token: FreshdeskConnector(FreshdeskSettings("freshdesk", url, token=token, **QUICK), Hours()),
    ),
    "freshdesk_tickets": (
        FreshdeskPlace,
        lambda url, token: FreshdeskTicketsConnector(
            FreshdeskTicketsSettings("freshdesk_tickets", url, token=token, **QUICK), Hours()
        ),
    ),
    "google_docs": (
        GooglePlace,
        lambda url, token: GoogleDocsConnector(
            GoogleDocsSettings("google_docs", url, folders=("top",), credentials=token, **QUICK)
        ),
    ),
    "notion": (
        NotionPlace,
        lambda url, token: NotionConnector(NotionSettings("notion", url, token=token, **QUICK), Hours()),
    ),
    "website": (WebsitePlace, lambda url, _token: WebsiteConnector(WebsiteSettings("website", url, **QUICK))),
    "zendesk": (
        ZendeskPlace,
        lambda url, token: ZendeskConnector(
            ZendeskSettings("zendesk", url, username="u", token=token, **QUICK), Hours()
        ),
    ),
    "zendesk_tickets": (
        ZendeskPlace,
        lambda url, token: ZendeskTicketsConnector(
            ZendeskTicketsSettings("zendesk_tickets", url, username="u", token=token, **QUICK)
        ),
    ),
}
LOCAL = {"folder": folder_place, "git": git_place, "jsonl": jsonl_place}
_times = iter(range(1_000_000_000, 2_000_000_000))


def settle(path: Path) -> None:
    """Gives a file a time of its own, long ago: tests write faster than file times move."""
    now = next(_times)
    os.utime(path, (now, now))


def write_files(root: Path, documents: dict[str, str]) -> None:
    for path in root.rglob("*.md"):
        if path.relative_to(root).as_posix().removesuffix(".md") not in documents:
            path.unlink()
    for name, text in documents.items():
        path = root / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            settle(path)


def git(root: Path, *command: str) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *who, *command], check=True, capture_output=True)


@pytest.fixture(params=sorted(LOCAL | REMOTE))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        local = LOCAL.get(request.param)
        yield await (local(tmp_path, stack) if local else http_place(request.param, tmp_path, stack))


async def changes(connector: Connector, cursor: str | None) -> list[Change]:
    return [change async for change in connector.changes(cursor)]


def told(found: list[Change]) -> tuple[dict[str, str], set[str], str | None]:
    """Upserts as id -> text, removals, and the cursor of the mark at the end."""
    upserts = {change.document.id: change.document.text for change in found if isinstance(change, Upsert)}
    removals = {change.document for change in found if isinstance(change, Removal)}
    return upserts, removals, found[-1].cursor if found and isinstance(found[-1], Mark) else None


def by_name(place: Place, found: list[Change]) -> tuple[dict[str, str], set[str], str | None]:
    """What was told, by the names that the test gave; of a ticket only what solved it."""
    upserts, removals, cursor = told(found)
    texts = {place.names(identity): text.rpartition("## Resolution\n\n")[2] for identity, text in upserts.items()}
    return texts, {place.names(identity) for identity in removals}, cursor


def test_every_connector_is_held_to_this() -> None:
    assert LOCAL.keys() | REMOTE.keys() == KINDS.keys()


async def test_without_a_cursor_everything_is_told(place: Place) -> None:
    place.write({"a": "alpha", "b": "beta", "c": "gamma"})
    upserts, removals, cursor = by_name(place, await changes(place.connector, None))
    assert upserts == {"a": "alpha", "b": "beta", "c": "gamma"}
    assert not removals
    assert cursor is not None


async def test_nothing_is_told_twice(place: Place) -> None:
    place.write({"a": "alpha", "b": "beta", "c": "gamma"})
    _, _, cursor = told(await changes(place.connector, None))
    for _ in range(2):
        upserts, removals, cursor = told(await changes(place.connector, cursor))
        assert (upserts, removals) == ({}, set())
        assert cursor is not None


async def test_edits_additions_and_deletions_are_told(place: Place) -> None:
    place.write({"a": "alpha", "b": "beta", "c": "gamma"})
    _, _, cursor = told(await changes(place.connector, None))
    place.write({"a": "alpha", "b": "BETA", "d": "delta"})
    upserts, removals, _ = by_name(place, await changes(place.connector, cursor))
    assert upserts["b"] == "BETA"
    assert upserts["d"] == "delta"
    assert removals == {"c"}


async def test_all_passes_together_give_what_one_whole_pass_gives(place: Place) -> None:
    """Incremental is only another way to the same documents."""
    states = [{"a": "1"}, {"a": "1", "b": "2"}, {"b": "3"}, {}, {"c": "4", "a": "5", "d": "6", "e": "7", "f": "8"}]
    cursor: str | None = None
    known: dict[str, str] = {}
    for state in states:
        place.write(state)
        upserts, removals, cursor = by_name(place, await changes(place.connector, cursor))
        known = {name: text for name, text in known.items() if name not in removals} | upserts
        whole, _, _ = by_name(place, await changes(place.connector, None))
        assert known == whole == state


async def test_a_pass_that_is_cut_off_goes_on_from_any_of_its_marks(place: Place) -> None:
    """What was told before the mark is known, the rest comes, and what vanished meanwhile goes by the pass after."""
    state = {f"d{number}": f"text {number}" for number in range(210)}
    place.write(state)
    first = await changes(place.connector, None)
    place.write({name: text for name, text in state.items() if name != "d3"} | {"new": "text"})
    marks = [number for number, change in enumerate(first) if isinstance(change, Mark)]
    for end in {marks[0], marks[len(marks) // 2], marks[-1]}:
        upserts, _, _ = by_name(place, first[:end])
        cursor = told(first[: end + 1])[2]
        known = upserts
        for _ in range(2):
            more, removals, cursor = by_name(place, await changes(place.connector, cursor))
            known = {name: text for name, text in known.items() if name not in removals} | more
        assert known == {name: text for name, text in state.items() if name != "d3"} | {"new": "text"}


async def test_a_source_that_is_away_is_a_fault_and_not_empty(place: Place) -> None:
    """An unmounted disk must not delete a knowledge base, nor a revoked key."""
    place.write({"a": "alpha"})
    _, _, cursor = told(await changes(place.connector, None))
    place.vanish()
    for start in (cursor, None):
        (fault,) = await changes(place.connector, start)
        assert isinstance(fault, Fault)
        assert fault.keeps == "*"
        assert "s3cret" not in fault.line


async def test_a_cursor_that_cannot_be_read_counts_as_none(place: Place) -> None:
    place.write({"a": "alpha"})
    for cursor in ("", "{", "[]", '{"x": 1}', "7"):
        upserts, _, _ = by_name(place, await changes(place.connector, cursor))
        assert upserts == {"a": "alpha"}


@pytest.fixture(params=sorted(REMOTE))
async def remote(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Place, ApiServer]]:
    async with AsyncExitStack() as stack:
        place = await http_place(request.param, tmp_path, stack)
        assert place.server is not None
        yield place, place.server


class TestRemote:
    async def test_each_request_may_be_answered_too_many(self, remote: tuple[Place, ApiServer]) -> None:
        """A 429 or 503 with Retry-After before every answer, and everything is told all the same."""
        place, server = remote
        place.write({"a": "alpha", "b": "beta", "c": "gamma"})
        refused: set[int] = set()

        def refuse(_asked: Asked) -> None:
            if not server.first and len(server.asked) % 2:
                refused.add(len(server.asked))
                server.first = [Answer(status=429 if len(server.asked) % 4 == 1 else 503, headers={"retry-after": "0"})]

        server.before = refuse
        upserts, removals, cursor = by_name(place, await changes(place.connector, None))
        assert upserts == {"a": "alpha", "b": "beta", "c": "gamma"}
        assert (removals, bool(cursor), bool(refused)) == (set(), True, True)

    @pytest.mark.parametrize(
        "reply",
        [
            Answer(b"<html>Sign in</html>", headers={"content-type": "text/html"}),
            in_json({"unexpected": True}),
            in_json([1]),
            Answer(b"\xff\xfe\x00"),
            Answer(b"{", status=400),
        ],
        ids=range(5),
    )
    async def test_an_answer_that_makes_no_sense_removes_nothing(
        self, remote: tuple[Place, ApiServer], reply: Answer
    ) -> None:
        place, server = remote
        place.write({"a": "alpha", "b": "beta"})
        _, _, cursor = told(await changes(place.connector, None))
        place.write({"a": "ALPHA", "b": "beta"})
        answer, server.answer = server.answer, lambda _asked: reply
        found = await changes(place.connector, cursor)
        assert not [change for change in found if isinstance(change, (Removal, Upsert))]
        assert any(isinstance(change, Fault) and change.keeps == "*" for change in found)
        assert not isinstance(found[-1], Mark)
        server.answer = answer
        assert by_name(place, await changes(place.connector, cursor))[0] == {"a": "ALPHA"}

    async def test_it_stays_with_its_host_and_asks_for_nothing_but_reading(
        self, remote: tuple[Place, ApiServer]
    ) -> None:
        place, server = remote
        place.write({"a": "alpha", "b": "beta"})
        await changes(place.connector, None)
        asking = ("/v1/search", "/token", "/v1/databases/")
        assert {one.method for one in server.asked if not one.path.startswith(asking)} <= {"GET"}


class TestFolder:
    def connector(self, root: Path, *include: str) -> FolderConnector:
        return FolderConnector(SourceSettings("folder", str(root), include))

    async def test_all_kinds_of_files_are_read_to_the_depth(self, tmp_path: Path) -> None:
        for name in ("a.md", "b.markdown", "c.HTML", "d.htm", "e.txt", "x/y/z/deep.md"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("words")
        for name in ("f.png", "g.py", ".hidden.md", ".git/h.md", "i.md~", ".j.md.swp"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("words")
        upserts, _, _ = told(await changes(self.connector(tmp_path), None))
        assert set(upserts) == {"a.md", "b.markdown", "c.HTML", "d.htm", "e.txt", "x/y/z/deep.md"}

    async def test_include_narrows(self, tmp_path: Path) -> None:
        for name in ("a.md", "policies/b.md", "policies/c.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("words")
        upserts, _, _ = told(await changes(self.connector(tmp_path, "policies/*.md"), None))
        assert set(upserts) == {"policies/b.md"}

    async def test_a_save_by_rename_is_an_edit(self, tmp_path: Path) -> None:
        path = tmp_path / "a.md"
        path.write_text("old")
        settle(path)
        _, _, cursor = told(await changes(self.connector(tmp_path), None))
        (tmp_path / ".a.md.tmp").write_text("new")
        (tmp_path / ".a.md.tmp").replace(path)
        assert told(await changes(self.connector(tmp_path), cursor))[0] == {"a.md": "new"}

    async def test_an_edit_within_one_step_of_the_clock_is_not_missed(self, tmp_path: Path) -> None:
        """Same size, same file time: only looking again at what is very fresh tells them apart."""
        path = tmp_path / "a.md"
        path.write_text("old")
        stat = path.stat()
        _, _, cursor = told(await changes(self.connector(tmp_path), None))
        path.write_text("new")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert told(await changes(self.connector(tmp_path), cursor))[0] == {"a.md": "new"}

    async def test_a_jsonl_file_is_many_documents(self, tmp_path: Path) -> None:
        path = tmp_path / "t.jsonl"
        path.write_text('{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n')
        settle(path)
        upserts, _, cursor = told(await changes(self.connector(tmp_path), None))
        assert upserts == {"t.jsonl#1": "one", "t.jsonl#2": "two"}
        path.write_text('{"id": 2, "text": "two"}\n')
        settle(path)
        _, removals, cursor = told(await changes(self.connector(tmp_path), cursor))
        assert removals == {"t.jsonl#1"}
        path.unlink()
        assert told(await changes(self.connector(tmp_path), cursor))[1] == {"t.jsonl#2"}

    async def test_a_link_out_of_the_folder_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "secret.md").write_text("secret")
        root = tmp_path / "docs"
        root.mkdir()
        (root / "real.md").write_text("inside")
        (root / "out.md").symlink_to(tmp_path / "secret.md")
        (root / "in.md").symlink_to(root / "real.md")
        assert set(told(await changes(self.connector(root), None))[0]) == {"real.md", "in.md"}

    async def test_a_file_that_cannot_be_read_is_told_by_each_pass_until_it_can(self, tmp_path: Path) -> None:
        (tmp_path / "a.pdf").write_bytes(b"no pdf")
        (tmp_path / "b.jsonl").write_text('{"id": 1, "text": "one"}\n{broken\n')
        (tmp_path / "c.csv").write_text("plan,price\nPro,20\n")
        (tmp_path / "d.py").write_text("x = 1")
        for name in ("a.pdf", "b.jsonl", "c.csv"):
            settle(tmp_path / name)
        first = await changes(self.connector(tmp_path), None)
        upserts, _, cursor = told(first)
        assert upserts == {"b.jsonl#1": "one", "c.csv": "plan: Pro; price: 20"}
        again = await changes(self.connector(tmp_path), cursor)
        for found in (first, again):
            lines = [change.line for change in found if isinstance(change, Fault)]
            assert len(lines) == 2
            assert "a.pdf: This PDF cannot be read" in lines[0]
            assert "b.jsonl:2: " in lines[1]
        (tmp_path / "a.pdf").unlink()
        (tmp_path / "b.jsonl").write_text('{"id": 1, "text": "one"}\n')
        settle(tmp_path / "b.jsonl")
        mended = await changes(self.connector(tmp_path), told(again)[2])
        assert not [change for change in mended if isinstance(change, Fault)]

    async def test_source_code_is_read_where_it_is_named(self, tmp_path: Path) -> None:
        for name in ("a.py", "b.png", "c.md"):
            (tmp_path / name).write_text("words")
        assert set(told(await changes(self.connector(tmp_path), None))[0]) == {"c.md"}
        assert set(told(await changes(self.connector(tmp_path, "*"), None))[0]) == {"a.py", "c.md"}

    async def test_a_folder_in_place_of_a_file_is_a_fault_of_that_file_only(self, tmp_path: Path) -> None:
        (tmp_path / "a.md").mkdir()
        (tmp_path / "b.md").write_text("beta")
        (tmp_path / "c.md").symlink_to(tmp_path / "a.md")
        found = await changes(self.connector(tmp_path), None)
        assert set(told(found)[0]) == {"b.md"}
        assert isinstance(found[-1], Mark)


class TestJsonl:
    async def test_faults_name_the_line_and_nothing_is_removed_meanwhile(self, tmp_path: Path) -> None:
        path = tmp_path / "t.jsonl"
        connector = JsonlConnector(SourceSettings("jsonl", str(path)))
        path.write_text("".join(f'{{"id": {n}, "text": "t{n}"}}\n' for n in range(600)))
        settle(path)
        _, _, cursor = told(await changes(connector, None))
        path.write_text("".join(f'{{"id": {n}, "text": "T{n}"}}\n' for n in range(500)) + '{"id": 500, "te')
        settle(path)
        found = await changes(connector, cursor)
        upserts, removals, cursor = told(found)
        assert len(upserts) == 500
        assert not removals
        (fault,) = [change for change in found if isinstance(change, Fault)]
        assert fault.line.startswith(f"{path}:501: ")
        path.write_text("".join(f'{{"id": {n}, "text": "T{n}"}}\n' for n in range(500)))
        settle(path)
        assert len(told(await changes(connector, cursor))[1]) == 100

    async def test_an_id_that_stands_twice_is_told_once(self, tmp_path: Path) -> None:
        path = tmp_path / "t.jsonl"
        path.write_text('{"id": "a", "text": "one"}\n{"id": "a", "text": "two"}\n')
        found = await changes(JsonlConnector(SourceSettings("jsonl", str(path))), None)
        assert told(found)[0] == {"a": "one"}
        assert any(isinstance(change, Fault) for change in found)
