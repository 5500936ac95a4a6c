"""Beyond the contract: Freshdesk's folders, and the cap on pages of tickets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.knowledge.connectors.freshdesk import FreshdeskConnector, FreshdeskSettings
from gateway.knowledge.connectors.freshdesk_tickets import FreshdeskTicketsConnector, FreshdeskTicketsSettings
from tests.fakes.api_server import ApiServer, Asked, serving
from tests.fakes.asking import QUICK, Clock, a_pass
from tests.fakes.places.freshdesk_place import FreshdeskPlace


@pytest.fixture
def place() -> FreshdeskPlace:
    return FreshdeskPlace()


@pytest.fixture
async def server(place: FreshdeskPlace) -> AsyncIterator[ApiServer]:
    async with serving(place.answer) as started:
        yield started


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "key").write_text("k")
    return f"file:{tmp_path}/key"


def solutions(server: ApiServer, key: str, restricted: tuple[str, ...] | None = None) -> FreshdeskConnector:
    return FreshdeskConnector(FreshdeskSettings("freshdesk", server.url, token=key, restricted=restricted, **QUICK))


def tickets(server: ApiServer, key: str) -> FreshdeskTicketsConnector:
    settings = FreshdeskTicketsSettings("freshdesk_tickets", server.url, token=key, **QUICK)
    return FreshdeskTicketsConnector(settings, Clock())


async def test_only_published_articles_are_taken(place: FreshdeskPlace, server: ApiServer, key: str) -> None:
    place.write({"a": "alpha", "b": "beta"})
    place.status = {"b": 1}
    told = await a_pass(solutions(server, key))
    assert set(told.documents) == {"1"}
    assert dict(told.documents["1"].attributes)["section"] == "Folder 1"
    assert server.asked[0].headers["authorization"] == "Basic azpY"


@pytest.mark.parametrize("visibility", [2, 3, 4, 5])
async def test_a_folder_that_not_everybody_sees_is_restricted(
    place: FreshdeskPlace, server: ApiServer, key: str, visibility: int
) -> None:
    place.write({"a": "alpha", "b": "beta"})
    told = await a_pass(solutions(server, key))
    assert set(told.documents) == {"1", "2"}
    place.visibility[2] = visibility  # no article's time changes with it
    closed = await a_pass(solutions(server, key), told.cursor)
    assert closed.removals == ["2"]
    assert "1 restricted left out" in closed.lines[0]
    named = await a_pass(solutions(server, key, ("agents",)), closed.cursor)
    assert named.documents["2"].readers == ("agents",)
    assert named.documents["1"].readers is None


async def test_an_article_that_paging_missed_is_asked_for_before_it_is_removed(
    place: FreshdeskPlace, server: ApiServer, key: str
) -> None:
    """A deletion while paging moves an article over the page's edge."""
    place.visibility = {1: 1}
    place.write({f"d{number}": "text" for number in range(250)})
    told = await a_pass(solutions(server, key))

    def drop(asked: Asked) -> None:
        if asked.one("page") == "2" and asked.path.endswith("/articles"):
            place.write({name: text for name, text in place.texts.items() if name != "d0"})

    server.before = drop
    after = await a_pass(solutions(server, key), told.cursor)
    server.before = lambda _asked: None
    assert (len(told.documents), after.removals) == (125, [])
    assert any(path.startswith("/api/v2/solutions/articles/") for path in server.paths())
    assert (await a_pass(solutions(server, key), after.cursor)).removals == ["1"]


async def test_tickets_are_asked_for_by_time_and_never_beyond_the_last_page(
    place: FreshdeskPlace, server: ApiServer, key: str
) -> None:
    place.write({f"t{number}": "solved" for number in range(450)})
    told = await a_pass(tickets(server, key))
    assert len(told.documents) == 450
    assert place.highest_page <= 2


async def test_more_than_a_page_of_one_second_is_paged_up_to_the_cap(
    place: FreshdeskPlace, server: ApiServer, key: str
) -> None:
    """A bulk edit gives thousands of tickets one time. Page 301 is a 400, and is never asked for."""
    place.write({f"t{number}": "solved" for number in range(250)})
    place.stamps = dict.fromkeys(place.stamps, "2026-02-01T00:00:00Z")
    told = await a_pass(tickets(server, key))
    assert len(told.documents) == 250
    assert told.cursor is not None
    again = await a_pass(tickets(server, key), told.cursor)
    assert (again.documents, again.removals) == ({}, [])


async def test_a_second_that_fills_all_pages_is_a_fault_and_the_pass_goes_on(
    place: FreshdeskPlace, server: ApiServer, key: str
) -> None:
    place.status = {f"t{number}": 2 for number in range(30_001)}  # open: no conversation is asked for
    place.write({f"t{number}": "x" for number in range(30_001)})
    place.stamps = dict.fromkeys(place.stamps, "2026-02-01T00:00:00Z")
    place.write({**place.texts, "last": "solved later"})
    place.stamps["last"] = "2026-02-01T00:00:09Z"
    told = await a_pass(tickets(server, key))
    assert place.highest_page == 300
    assert any("more than 300 pages of one second" in line for line in told.lines)
    assert [document.text.endswith("solved later") for document in told.documents.values()] == [True]
    assert told.cursor is not None


async def test_an_edit_while_paging_is_not_lost(place: FreshdeskPlace, server: ApiServer, key: str) -> None:
    """A ticket that was read moves to the end; by page number the first of the next page would be passed over."""
    place.write({f"t{number}": "solved" for number in range(250)})
    edited: list[str] = []

    def edit(asked: Asked) -> None:
        window = asked.path == "/api/v2/tickets" and not asked.one("filter")
        if window and asked.one("updated_since") > "2026-01-01T00:01:39Z" and not edited:
            edited.append("t5")
            place.write({**place.texts, "t5": "solved anew"})

    server.before = edit
    told = await a_pass(tickets(server, key))
    assert edited
    assert len(told.documents) == 250
    assert told.documents["6"].text.endswith("solved anew")


async def test_private_notes_and_customers_words_are_no_resolution(
    place: FreshdeskPlace, server: ApiServer, key: str
) -> None:
    place.write({"late": "We sent it again."})
    text = (await a_pass(tickets(server, key))).documents["1"].text
    assert text.endswith("## Resolution\n\nWe sent it again.")
    assert "internal note" not in text
