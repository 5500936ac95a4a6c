"""Beyond the contract: blocks as Markdown, what is in the trash, databases."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.knowledge.connectors.notion import NotionConnector, NotionSettings
from tests.fakes.api_server import ApiServer, serving
from tests.fakes.asking import QUICK, Clock, a_pass
from tests.fakes.places.notion_place import NotionPlace, block, run


@pytest.fixture
def place() -> NotionPlace:
    return NotionPlace(page_size=2)


@pytest.fixture
async def server(place: NotionPlace) -> AsyncIterator[ApiServer]:
    async with serving(place.answer) as started:
        yield started


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key").write_text("k")
    return f"file:{tmp_path}/key"


def notion(server: ApiServer, key: str, clock: Clock | None = None, *databases: str) -> NotionConnector:
    settings = NotionSettings("notion", server.url, token=key, databases=databases, **QUICK)
    return NotionConnector(settings, clock or Clock())


async def test_blocks_become_markdown_to_their_depth(place: NotionPlace, server: ApiServer, key: str) -> None:
    place.write({"a": "x"})
    link: list[dict[str, object]] = [
        {"plain_text": "the form", "href": "https://x.example.com/f", "annotations": {"bold": True, "code": False}}
    ]
    place.blocks = {
        "1": [
            block("heading_2", "Refunds"),
            block("paragraph", "Within 30 days.") | {"paragraph": {"rich_text": run("Fill in ") + link}},
            block("bulleted_list_item", "first", identity="i1"),
            block("bulleted_list_item", "second"),
            block("to_do", "ship", checked=True),
            block("code", "x = 1", language="python"),
            block("table", identity="t1"),
            block("callout", "Beware"),
            block("child_page", identity="p2"),
            block("unsupported"),
            {"type": "strange", "strange": 7, "id": "9", "has_children": False},
            block("column_list", identity="c1"),
        ],
        "i1": [block("bulleted_list_item", "below")],
        "t1": [
            block("table_row", cells=[run("Plan"), run("Price")]),
            block("table_row", cells=[run("Pro"), run("2|0")]),
        ],
        "c1": [block("column", identity="c2")],
        "c2": [block("paragraph", "in a column")],
    }
    document = (await a_pass(notion(server, key))).documents["1"]
    assert document.title == "a"
    assert document.text == (
        "## Refunds\n\nFill in [**the form**](https://x.example.com/f)\n\n- first\n  - below\n- second\n- [x] ship\n\n"
        "```python\nx = 1\n```\n\n| Plan | Price |\n| --- | --- |\n| Pro | 2\\|0 |\n\n> Beware\n\nin a column"
    )
    assert not any("/p2/" in path for path in server.paths())


async def test_a_page_in_the_trash_is_removed(place: NotionPlace, server: ApiServer, key: str) -> None:
    place.write({"a": "alpha", "b": "beta"})
    clock = Clock()
    told = await a_pass(notion(server, key, clock))
    place.trash = {"a"}
    clock.now += 3601
    place.stamps["a"] = place.tick()
    assert (await a_pass(notion(server, key, clock), told.cursor)).removals == ["1"]


async def test_blocks_are_asked_for_only_of_pages_that_changed(place: NotionPlace, server: ApiServer, key: str) -> None:
    place.write({"a": "alpha", "b": "beta", "c": "gamma"})
    clock = Clock()
    told = await a_pass(notion(server, key, clock))
    clock.now += 3601
    server.asked.clear()
    place.write({"a": "alpha", "b": "BETA", "c": "gamma"})
    assert set((await a_pass(notion(server, key, clock), told.cursor)).documents) == {"2"}
    assert [path for path in server.paths() if "blocks" in path] == ["/v1/blocks/2/children"]


async def test_an_edit_in_a_minute_that_is_not_over_is_not_missed(
    place: NotionPlace, server: ApiServer, key: str
) -> None:
    """Notion tells times by the minute: two edits may have one time."""
    place.write({"a": "alpha"})
    clock = Clock(1_767_225_601.0)  # the very second of the edit
    told = await a_pass(notion(server, key, clock))
    stamp = place.stamps["a"]
    place.write({"a": "ALPHA"})
    place.stamps["a"] = stamp
    assert (await a_pass(notion(server, key, clock), told.cursor)).documents["1"].text == "ALPHA"


async def test_databases_narrow(place: NotionPlace, server: ApiServer, key: str) -> None:
    place.write({"a": "alpha"})
    await a_pass(notion(server, key, None, "d1", "d2"))
    asked = [path for path in server.paths() if "blocks" not in path]
    assert asked == ["/v1/databases/d1/query", "/v1/databases/d2/query"]
