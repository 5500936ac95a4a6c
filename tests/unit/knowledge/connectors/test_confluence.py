"""Beyond the contract: restrictions, inherited ones too, and the storage format."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.knowledge.connectors.confluence import ConfluenceConnector, ConfluenceSettings
from tests.fakes.api_server import ApiServer, Asked, in_json, serving
from tests.fakes.asking import QUICK, Clock, a_pass
from tests.fakes.places.confluence_place import ConfluencePlace


@pytest.fixture
def place() -> ConfluencePlace:
    return ConfluencePlace(page_size=2)


@pytest.fixture
async def server(place: ConfluencePlace) -> AsyncIterator[ApiServer]:
    async with serving(place.answer) as started:
        yield started


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key").write_text("k")
    return f"file:{tmp_path}/key"


def confluence(server: ApiServer, key: str, clock: Clock | None = None, **more: object) -> ConfluenceConnector:
    settings = ConfluenceSettings("confluence", server.url, username="u", token=key, **(QUICK | more))
    return ConfluenceConnector(settings, clock or Clock())


async def test_a_page_is_restricted_when_it_or_one_above_names_readers(
    place: ConfluencePlace, server: ApiServer, key: str
) -> None:
    place.write({"open": "1", "closed": "2", "below": "3", "deep": "4", "beside": "5"})
    place.readers = {"closed"}
    place.parents = {"below": "closed", "deep": "below", "beside": "open"}
    told = await a_pass(confluence(server, key))
    assert {document.title for document in told.documents.values()} == {"open", "beside"}
    assert "3 restricted left out" in told.lines[0]
    named = await a_pass(confluence(server, key, restricted=("red", "blue")))
    readers = {document.title: document.readers for document in named.documents.values()}
    both = ("red", "blue")
    assert readers == {"open": None, "beside": None, "closed": both, "below": both, "deep": both}


async def test_a_restriction_that_changes_no_version_is_seen_by_the_next_whole_pass(
    place: ConfluencePlace, server: ApiServer, key: str
) -> None:
    place.write({"a": "1", "b": "2"})
    clock = Clock()
    told = await a_pass(confluence(server, key, clock))
    place.readers = {"a"}
    clock.now += 3601
    assert (await a_pass(confluence(server, key, clock), told.cursor)).removals == ["1"]


async def test_what_cannot_be_looked_up_counts_as_restricted(
    place: ConfluencePlace, server: ApiServer, key: str
) -> None:
    """A parent that the account cannot see may be one that names its readers."""
    place.write({"a": "1", "hidden": "2"})
    place.parents = {"a": "hidden"}
    place.write({"a": "1"})
    place.numbers.pop("hidden")
    place.parents = {"a": "gone"}
    place.numbers["gone"] = 99

    def forbid(asked: Asked) -> None:
        if "/content/99/" in asked.path:
            server.first = [in_json({"message": "not permitted"}, 403)]

    server.before = forbid
    told = await a_pass(confluence(server, key))
    assert not told.documents
    assert "1 restricted left out" in told.lines[0]


async def test_the_storage_format_keeps_its_words(place: ConfluencePlace, server: ApiServer, key: str) -> None:
    place.write({"a": ""})
    place.bodies["a"] = (
        '<h2>Steps</h2><ac:structured-macro ac:name="toc"/><p>Press <strong>save</strong>&nbsp;&rarr; done.</p>'
        '<ac:structured-macro ac:name="code"><ac:parameter ac:name="language">sh</ac:parameter>'
        "<ac:plain-text-body><![CDATA[if a < b; then echo 1; fi]]></ac:plain-text-body></ac:structured-macro>"
        '<ac:structured-macro ac:name="warning"><ac:parameter ac:name="title">Beware</ac:parameter>'
        "<ac:rich-text-body><p>It is hot.</p></ac:rich-text-body></ac:structured-macro>"
        '<p>See <ac:link><ri:page ri:content-title="Refunds"/></ac:link> and <ac:link><ri:page ri:content-title="X"/>'
        "<ac:plain-text-link-body><![CDATA[this]]></ac:plain-text-link-body></ac:link></p>"
        "<ac:task-list><ac:task><ac:task-id>1</ac:task-id><ac:task-status>complete</ac:task-status>"
        "<ac:task-body>ship</ac:task-body></ac:task></ac:task-list>"
        "<table><tbody><tr><th>Plan</th><th>Price</th></tr><tr><td>Pro</td><td>20</td></tr></tbody></table>"
        '<ac:unknown ac:foo="1">kept words</ac:unknown><p>never closed'
    )
    text = (await a_pass(confluence(server, key))).documents["1"].text
    for words in ("## Steps", "**save**", "if a < b; then echo 1; fi", "Beware", "> It is hot", "Refunds", "this"):
        assert words in text
    for words in ("* [x] ship", "| Plan | Price |", "| Pro | 20 |", "kept words", "never closed"):
        assert words in text
    for words in ("CDATA", "language", "complete", "ac:"):
        assert words not in text
