"""Beyond the contract: what Zendesk's help centre and tickets bring with them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.knowledge.connectors import Mark
from gateway.knowledge.connectors.zendesk import ZendeskConnector, ZendeskSettings
from gateway.knowledge.connectors.zendesk_tickets import ZendeskTicketsConnector, ZendeskTicketsSettings
from tests.fakes.api_server import Answer, ApiServer, Asked, in_json, serving
from tests.fakes.asking import QUICK, Clock, a_pass
from tests.fakes.places.zendesk_place import ZendeskPlace


@pytest.fixture
def place() -> ZendeskPlace:
    return ZendeskPlace(page_size=2)


@pytest.fixture
async def server(place: ZendeskPlace) -> AsyncIterator[ApiServer]:
    async with serving(place.answer) as started:
        place.url = started.url
        yield started


def connector(server: ApiServer, clock: Clock | None = None, **settings: object) -> ZendeskConnector:
    written = ZendeskSettings("zendesk", server.url, **(QUICK | settings))
    return ZendeskConnector(written, clock or Clock())


async def test_a_help_centre_is_read_without_a_key(place: ZendeskPlace, server: ApiServer) -> None:
    place.write({"a": "alpha"})
    told = await a_pass(connector(server))
    document = told.documents["1"]
    assert (document.title, document.text, document.url) == ("a", "alpha", "https://help.example.com/a")
    assert dict(document.attributes) == {
        "source": "zendesk",
        "updated_at": "2026-01-01T00:00:01Z",
        "locale": "en-us",
        "section": "77",
        "labels": "a, b",
    }
    assert document.readers is None
    assert "authorization" not in server.asked[0].headers


async def test_a_key_is_sent_and_never_told(place: ZendeskPlace, server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    reader = connector(server, username="a@example.com", token=f"file:{tmp_path}/key")
    place.write({"a": "alpha"})
    await a_pass(reader)
    assert server.asked[0].headers["authorization"] == "Basic YUBleGFtcGxlLmNvbS90b2tlbjpzM2NyZXQ="
    place.is_away = True
    (fault,) = (await a_pass(reader)).lines
    assert "401" in fault
    assert "Couldn't authenticate you" in fault
    assert "s3cret" not in fault


async def test_a_missing_key_is_a_fault_that_keeps_everything(server: ApiServer) -> None:
    (fault,) = (await a_pass(connector(server, token="env:SWITCHYARD_NO_SUCH"))).faults
    assert "SWITCHYARD_NO_SUCH is not set" in fault.line
    assert fault.keeps == "*"
    assert not server.asked


async def test_drafts_and_empty_articles_are_passed_over(place: ZendeskPlace, server: ApiServer) -> None:
    place.write({"a": "alpha", "b": "beta", "c": "gamma"})
    place.more = {"b": {"draft": True}, "c": {"body": None}}
    assert set((await a_pass(connector(server))).documents) == {"1"}


@pytest.mark.parametrize("closed", [{"user_segment_id": 12}, {"user_segment_ids": [12, 13]}])
async def test_restricted_articles_are_left_out_and_counted(
    place: ZendeskPlace, server: ApiServer, closed: dict[str, object]
) -> None:
    place.write({"a": "alpha", "b": "beta"})
    place.more = {"b": closed}
    told = await a_pass(connector(server))
    assert set(told.documents) == {"1"}
    assert any("1 restricted left out" in line for line in told.lines)
    assert told.cursor is not None
    again = await a_pass(connector(server), told.cursor)
    assert again.lines == told.lines  # a short pass does not meet it, and still says so


async def test_restricted_articles_are_read_by_exactly_the_teams_that_are_named(
    place: ZendeskPlace, server: ApiServer
) -> None:
    place.write({"a": "alpha", "b": "beta"})
    place.more = {"b": {"user_segment_id": 12}}
    told = await a_pass(connector(server, restricted=("agents",)))
    assert (told.documents["1"].readers, told.documents["2"].readers) == (None, ("agents",))


async def test_an_article_that_becomes_restricted_goes_and_other_settings_bring_it_back(
    place: ZendeskPlace, server: ApiServer
) -> None:
    place.write({"a": "alpha"})
    clock = Clock()
    told = await a_pass(connector(server, clock))
    place.more = {"a": {"user_segment_id": 12, "updated_at": place.tick()}}
    place.stamps["a"] = str(place.more["a"]["updated_at"])
    told = await a_pass(connector(server, clock), told.cursor)
    assert told.removals == ["1"]
    told = await a_pass(connector(server, clock, restricted=("agents",)), told.cursor)
    assert told.documents["1"].readers == ("agents",)


async def test_between_whole_passes_only_the_newest_are_asked_for(place: ZendeskPlace, server: ApiServer) -> None:
    """Ten thousand articles are not paged through each five minutes."""
    place.write({f"d{number}": "text" for number in range(300)})
    place.page_size = 50
    clock = Clock()
    told = await a_pass(connector(server, clock))
    place.write({f"d{number}": "text" for number in range(300)} | {"d7": "edited"})
    server.asked.clear()
    told = await a_pass(connector(server, clock), told.cursor)
    assert list(told.documents) == ["8"]
    assert len(server.asked) < 4
    place.write({f"d{number}": "text" for number in range(299)} | {"d7": "edited"})
    assert (await a_pass(connector(server, clock), told.cursor)).removals == []
    clock.now += 3601
    assert (await a_pass(connector(server, clock), told.cursor)).removals == ["300"]


async def test_an_edit_while_paging_is_not_lost(place: ZendeskPlace, server: ApiServer) -> None:
    """The article moves from a page that is still to come to one that was, or the other way."""
    names = {f"d{number}": "old" for number in range(7)}
    clock = Clock()
    for newest in (False, True):
        place.write(names)
        told = await a_pass(connector(server, clock)) if newest else None
        edited: list[str] = []

        def edit(asked: Asked, edited: list[str] = edited) -> None:
            if asked.one("page[after]") and not edited:
                edited.append("d0")
                place.write(names | {"d0": "new", "d6": "new"})

        if newest:
            place.write(dict.fromkeys(names, "touched"))
        server.before = edit
        told = await a_pass(connector(server, clock), told.cursor if told else None)
        server.before = lambda _asked: None
        known = told.documents | (await a_pass(connector(server, clock), told.cursor)).documents
        assert edited
        assert (known["1"].text, known["7"].text) == ("new", "new")


async def test_too_many_requests_are_waited_out(place: ZendeskPlace, server: ApiServer) -> None:
    place.write({"a": "alpha"})
    server.first = [Answer(status=429, headers={"retry-after": "0"}), Answer(status=503, headers={"retry-after": "0"})]
    assert set((await a_pass(connector(server))).documents) == {"1"}
    assert len(server.asked) == 3


async def test_a_long_wait_is_the_next_passs_and_what_came_before_is_kept(
    place: ZendeskPlace, server: ApiServer
) -> None:
    place.page_size = 100
    place.write({f"d{number}": "text" for number in range(150)})

    def limited(asked: Asked) -> None:
        if asked.one("page[after]"):
            server.first = [Answer(status=429, headers={"retry-after": "900"})]

    server.before = limited
    told = await a_pass(connector(server))
    assert told.cursor is None
    assert len(told.documents) == 100
    assert told.faults[-1].retry_after_seconds == 900
    server.before = lambda _asked: None
    server.asked.clear()
    mark = [change for change in told.changes if isinstance(change, Mark)][-1]
    rest = await a_pass(connector(server), mark.cursor)
    assert len(rest.documents) == 50
    assert len(server.asked) == 1


async def test_a_place_to_go_on_from_that_is_not_known_any_more_begins_again(
    place: ZendeskPlace, server: ApiServer
) -> None:
    place.page_size = 100
    place.write({f"d{number}": "text" for number in range(250)})
    first = await a_pass(connector(server))
    mark = next(change for change in first.changes if isinstance(change, Mark))
    stale: list[str] = []

    def forget(asked: Asked) -> None:
        if asked.one("page[after]") and not stale:
            stale.append("x")
            server.first = [in_json({"error": "InvalidPaginationParameter"}, 400)]

    server.before = forget
    told = await a_pass(connector(server), mark.cursor)
    assert (len(told.documents), told.removals, bool(told.cursor)) == (150, [], True)
    always = [in_json({"error": "InvalidPaginationParameter"}, 400)]
    server.before = lambda asked: server.first.extend(always if asked.one("page[after]") else [])
    assert (await a_pass(connector(server), mark.cursor)).cursor is None


@pytest.mark.parametrize("body", ["<p", "<div>" * 3000 + "fact", "<![if x]>fact<![endif]>", "<p>\x00fact"])
async def test_bad_html_stops_no_pass(place: ZendeskPlace, server: ApiServer, body: str) -> None:
    place.write({"a": "alpha", "b": "beta"})
    place.more = {"a": {"body": body}}
    told = await a_pass(connector(server))
    assert told.cursor is not None
    assert told.documents["2"].text == "beta"
    assert "fact" in told.documents["1"].text or "fact" not in body


async def test_a_reply_in_another_shape_is_a_fault(server: ApiServer) -> None:
    for answer in (Answer(b"<html>sign in</html>"), in_json({"articles": [{"title": "no id"}]}), in_json([])):
        server.first = [answer]
        told = await a_pass(connector(server))
        assert told.cursor is None
        assert told.faults[0].keeps == "*"


def tickets(server: ApiServer) -> ZendeskTicketsConnector:
    return ZendeskTicketsConnector(ZendeskTicketsSettings("zendesk_tickets", server.url, **QUICK))


async def test_a_ticket_is_its_question_and_what_agents_answered_in_public(
    place: ZendeskPlace, server: ApiServer
) -> None:
    place.write({"late parcel": "We sent it again."})
    document = (await a_pass(tickets(server))).documents["1"]
    assert document.title == "Ticket 1"
    assert "## Resolution\n\nWe sent it again." in document.text
    assert "internal note" not in document.text
    assert "My parcel is late." in document.text


async def test_customers_stay_unnamed_as_far_as_there_is_a_form(place: ZendeskPlace, server: ApiServer) -> None:
    place.write({"late parcel": "Card 4111 1111 1111 1111 was charged, order 1234567890123 was not."})
    document = (await a_pass(tickets(server))).documents["1"]
    assert "Jane" not in document.title
    for hidden in ("jane.roe@example.com", "+49 170 1234567", "4111 1111 1111 1111"):
        assert hidden not in document.text
    assert "[e-mail]" in document.text
    assert "order 1234567890123" in document.text


async def test_only_solved_tickets_with_an_answer_are_taken(place: ZendeskPlace, server: ApiServer) -> None:
    place.write({"open": "x", "closed": "x", "silent": "x"})
    place.status = {"open": "open", "closed": "closed"}
    place.comments["silent"] = [{"author_id": 5, "plain_body": "hello?", "public": True}]
    told = await a_pass(tickets(server))
    assert (set(told.documents), told.removals) == ({"2"}, [])
    place.status["closed"] = "open"
    place.stamps["closed"] = place.tick()
    assert "2" in (await a_pass(tickets(server), told.cursor)).removals


async def test_a_product_that_is_switched_off_says_so(server: ApiServer) -> None:
    server.first = [in_json({"error": "SupportProductInactive"}, 403)]
    assert "SupportProductInactive" in (await a_pass(tickets(server))).lines[0]
