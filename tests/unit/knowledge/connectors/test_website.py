"""Beyond the contract: robots, origins, conditional requests, limits."""

import gzip
from collections.abc import AsyncIterator

import pytest

from gateway.knowledge.connectors.website import WebsiteConnector, WebsiteSettings
from gateway.knowledge.remote.robots import Robots
from tests.fakes.api_server import Answer, ApiServer, serving
from tests.fakes.asking import QUICK, a_pass
from tests.fakes.places.website_place import WebsitePlace


@pytest.fixture
def place() -> WebsitePlace:
    return WebsitePlace()


@pytest.fixture
async def server(place: WebsitePlace) -> AsyncIterator[ApiServer]:
    async with serving(place.answer) as started:
        place.url = started.url
        yield started


def website(server: ApiServer, path: str = "", **settings: object) -> WebsiteConnector:
    written = WebsiteSettings("website", server.url + path, **(QUICK | settings))
    return WebsiteConnector(written)


async def test_a_page_without_a_time_is_asked_for_with_its_tag(place: WebsitePlace, server: ApiServer) -> None:
    place.has_times = False
    place.write({"a": "alpha", "b": "beta"})
    told = await a_pass(website(server))
    server.asked.clear()
    again = await a_pass(website(server), told.cursor)
    assert not again.documents
    assert [one.headers["if-none-match"] for one in server.asked if one.path == "/a"] == ['"2026-01-01T00:00:01Z"']
    place.write({"a": "ALPHA", "b": "beta"})
    assert {one.text for one in (await a_pass(website(server), again.cursor)).documents.values()} == {"ALPHA"}


async def test_a_page_whose_time_did_not_change_is_not_asked_for(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha", "b": "beta"})
    told = await a_pass(website(server))
    server.asked.clear()
    await a_pass(website(server), told.cursor)
    assert server.paths() == ["/robots.txt", "/sitemap.xml", "/pages.xml"]


async def test_robots_are_respected(place: WebsitePlace, server: ApiServer) -> None:
    place.robots = (
        "User-agent: *\nDisallow: /\n\nUser-agent: switchyard-gateway\nDisallow: /closed/*.html$\nDisallow: /x?\n"
        "Disallow: /deep\nAllow: /deep/open\n"
    )
    place.write({"closed/a.html": "x", "closed/a.htmlx": "y", "x?q=1": "z", "deep/open": "o", "deep/shut": "s"})
    told = await a_pass(website(server))
    assert {url.removeprefix(server.url) for url in told.documents} == {"/closed/a.htmlx", "/deep/open"}
    assert "/deep/shut" not in server.paths()


async def test_robots_that_cannot_be_had_close_everything(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha"})
    told = await a_pass(website(server))
    place.more["/robots.txt"] = Answer(status=500, headers={"retry-after": "900"})
    shut = await a_pass(website(server), told.cursor)
    assert (shut.cursor, shut.removals, shut.faults[0].keeps) == (None, [], "*")


async def test_only_pages_of_the_very_origin_and_below_its_path_are_asked_for(
    place: WebsitePlace, server: ApiServer
) -> None:
    place.write({"docs/a": "alpha", "blog/b": "beta", "docs-old/c": "gamma"})
    place.extra = (
        "<url><loc>http://169.254.169.254/latest/meta-data</loc></url><url><loc>https://other.example.com/x</loc></url>"
        "<url><loc>file:///etc/passwd</loc></url><url><loc>http://[bad</loc></url>"
    )
    told = await a_pass(website(server, "/docs"))
    assert list(told.documents) == [f"{server.url}/docs/a"]


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/x", "https://example.com/x", "file:///etc/passwd", "//evil/x"])
async def test_a_redirect_to_another_host_is_not_followed(place: WebsitePlace, server: ApiServer, target: str) -> None:
    place.write({"a": "alpha", "b": "beta"})
    place.more["/a"] = Answer(status=302, headers={"location": target})
    told = await a_pass(website(server))
    assert list(told.documents) == [f"{server.url}/b"]
    assert any("another host" in line for line in told.lines)
    assert told.cursor is not None


async def test_a_redirect_within_the_host_is_followed_but_not_for_ever(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha", "b": "beta", "c": "gamma"})
    place.more["/a"] = Answer(status=301, headers={"location": "/b"})
    place.more["/c"] = Answer(status=301, headers={"location": "/c"})
    told = await a_pass(website(server))
    assert told.documents[f"{server.url}/a"].text == "beta"
    assert any("without end" in line for line in told.lines)


async def test_a_page_that_is_gone_is_removed_though_the_sitemap_names_it(
    place: WebsitePlace, server: ApiServer
) -> None:
    place.has_times = False
    place.write({"a": "alpha", "b": "beta"})
    told = await a_pass(website(server))
    place.more["/a"] = Answer(status=410)
    assert (await a_pass(website(server), told.cursor)).removals == [f"{server.url}/a"]


async def test_a_page_that_fails_for_now_is_kept_and_tried_again(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha", "b": "beta"})
    told = await a_pass(website(server))
    place.write({"a": "ALPHA", "b": "beta"})
    place.more["/a"] = Answer(b"forbidden", 403)
    failed = await a_pass(website(server), told.cursor)
    assert (failed.removals, failed.faults[0].keeps) == ([], f"{server.url}/a")
    del place.more["/a"]
    assert list((await a_pass(website(server), failed.cursor)).documents) == [f"{server.url}/a"]


async def test_a_sitemap_that_fails_removes_nothing(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha"})
    told = await a_pass(website(server))
    for broken in (Answer(b"", 404), Answer(b"<urlset><url>"), Answer(b"<html></html>"), Answer(b"soon")):
        place.more["/pages.xml"] = broken
        failed = await a_pass(website(server), told.cursor)
        assert (failed.cursor, failed.removals) == (None, [])
        assert failed.faults[0].keeps == "*"


async def test_a_sitemap_of_another_host_is_not_asked_for(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha"})
    place.robots = (
        f"Sitemap: {server.url}/sitemap.xml\nSitemap: https://other.example.com/s.xml\nSitemap: http://[bad\n"
    )
    told = await a_pass(website(server))
    assert list(told.documents) == [f"{server.url}/a"]
    assert sum("is not asked" in line for line in told.lines) == 2


async def test_a_sitemap_that_declares_entities_is_refused(place: WebsitePlace, server: ApiServer) -> None:
    place.more["/sitemap.xml"] = Answer(
        b'<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><urlset><url><loc>&c;</loc></url></urlset>'
    )
    assert "document type" in (await a_pass(website(server))).lines[0]


async def test_a_gzipped_sitemap_named_by_robots_is_read(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "alpha"})
    listed = f"<urlset><url><loc>{server.url}/a#part</loc></url></urlset>".encode()
    place.robots = f"Sitemap: {server.url}/own.xml.gz\n"
    place.more["/own.xml.gz"] = Answer(gzip.compress(listed))
    assert list((await a_pass(website(server))).documents) == [f"{server.url}/a"]


async def test_limits_on_pages_and_bytes(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "x" * 5000, "b": "beta", "c": "gamma"})
    told = await a_pass(website(server, pages=2, page_bytes=2000))
    assert list(told.documents) == [f"{server.url}/b"]
    assert any("3 pages; the first 2 are read" in line for line in told.lines)
    assert any("more than 2000 bytes" in line for line in told.lines)


async def test_globs_narrow(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"docs/a": "x", "docs/old/b": "x", "blog/c": "x"})
    told = await a_pass(website(server, include=("/docs/*",), exclude=("/docs/old/*",)))
    assert list(told.documents) == [f"{server.url}/docs/a"]


async def test_a_file_that_is_no_page_is_read_by_its_type(place: WebsitePlace, server: ApiServer) -> None:
    place.write({"a": "x", "b": "x", "c": "x"})
    place.more["/a"] = Answer(b"# Title\n\nwords", headers={"content-type": "text/markdown"})
    place.more["/b"] = Answer(b"\x89PNG\r\n", headers={"content-type": "image/png"})
    told = await a_pass(website(server))
    assert told.documents[f"{server.url}/a"].title == "Title"
    assert f"{server.url}/b" not in told.documents
    server.asked.clear()
    again = await a_pass(website(server), told.cursor)
    assert again.lines == told.lines  # still at fault, and not sent again
    assert "/b" not in server.paths()
    assert any("is of a kind that is not read" in line for line in told.lines)


async def test_a_page_that_is_not_to_be_found_or_stands_elsewhere_is_left_out(
    place: WebsitePlace, server: ApiServer
) -> None:
    place.write({"a": "alpha", "b": "beta", "c": "gamma", "d": "delta", "e": "x"})
    html = {"content-type": "text/html"}
    place.more["/a"] = Answer(b"<meta content='NOINDEX, follow' name=robots><p>x", headers=html)
    place.more["/b"] = Answer(b'<link href="/d#x" rel="canonical"><p>x', headers=html)
    place.more["/c"] = Answer(b'<link rel="canonical" href="https://elsewhere.example.com/c"><p>kept', headers=html)
    place.more["/e"] = Answer(b"x", headers=html | {"x-robots-tag": "noindex"})
    told = await a_pass(website(server))
    assert {url.removeprefix(server.url) for url in told.documents} == {"/c", "/d"}


async def test_of_a_page_that_says_which_part_is_its_own_only_that_is_taken(
    place: WebsitePlace, server: ApiServer
) -> None:
    place.write({"a": "x"})
    page = b"<title>T</title><header>Shop Cart</header><aside>news</aside><main><h1>Hours</h1><p>9 to 5</main>"
    place.more["/a"] = Answer(page, headers={"content-type": "text/html"})
    (document,) = (await a_pass(website(server))).documents.values()
    assert (document.title, document.text) == ("T", "# Hours\n\n9 to 5")


def test_patterns_of_robots_fit_as_the_standard_says() -> None:
    for pattern, path, fits in (
        ("/fish", "/fish.html", True),
        ("/fish*", "/fishheads/y", True),
        ("/fish/", "/fish", False),
        ("/*.php", "/folder/file.php?x=1", True),
        ("/*.php$", "/file.php?x=1", False),
        ("/*.php$", "/a.php/b.php", True),
        ("/fish*.php", "/fishheads/catfish.php", True),
        ("/fish*.php", "/Fish.PHP", False),
        ("/a$", "/a", True),
        ("/a$", "/ab", False),
        ("/*a*b$", "/ab", True),
        ("/*ab$", "/ab/b", False),
        ("/ab*b$", "/ab", False),
        ("/" + "*a" * 60 + "b", "/" + "a" * 5000, False),
    ):
        assert Robots(f"User-agent: *\nDisallow: {pattern}", "x").allows(path) is not fits, (pattern, path)
