"""Asking a place: waits, limits, origins, and addresses that are nobody's business."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import ip_address

import httpx2
import pytest

from gateway.knowledge.remote.fetch import Fetcher, FetchFailed, retry_after
from gateway.knowledge.remote.guard import AddressRefused, GuardedTransport, is_public
from gateway.knowledge.settings import RemoteSettings
from tests.fakes.api_server import Answer, Asked, in_json, serving
from tests.fakes.asking import QUICK


def given(answer: Answer, _asked: Asked) -> Answer:
    return answer


def asking(url: str) -> Fetcher:
    return Fetcher(RemoteSettings("website", url, **QUICK), {"authorization": "Bearer s3cret"})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("30", 30.0),
        (" 1.5 ", 1.5),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("-5", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=10.0) == seconds


async def test_what_may_pass_is_tried_again_and_what_may_not_is_not() -> None:
    for status, tries in ((429, 4), (503, 4), (400, 1), (401, 1), (403, 1), (404, 1)):
        answer = Answer(status=status, headers={"retry-after": "0"})
        async with serving(partial(given, answer)) as server:
            async with asking(server.url) as fetcher:
                with pytest.raises(FetchFailed) as failed:
                    await fetcher.get("x")
            assert (failed.value.status, len(server.asked)) == (status, tries)


async def test_a_wait_that_is_too_long_is_handed_on() -> None:
    async with serving(lambda _asked: Answer(status=429, headers={"retry-after": "3600"})) as server:
        async with asking(server.url) as fetcher:
            with pytest.raises(FetchFailed) as failed:
                await fetcher.get("x")
        assert (failed.value.retry_after_seconds, len(server.asked)) == (3600.0, 1)


async def test_a_fault_holds_no_secret_of_query_or_header() -> None:
    answer = in_json({"message": "bad\x00 \x1b[31mkey" + "!" * 999}, 401)
    async with serving(lambda _asked: answer) as server, asking(server.url) as fetcher:
        with pytest.raises(FetchFailed) as failed:
            await fetcher.get("x", [("api_key", "s3cret")])
    assert "s3cret" not in failed.value.line
    assert failed.value.line.isprintable()
    assert len(failed.value.line) < 300


async def test_another_host_is_not_asked_and_gets_no_secret() -> None:
    async with serving(lambda _asked: Answer()) as other:
        away = Answer(status=307, headers={"location": f"{other.url}/x"})
        async with serving(lambda _asked: away) as server, asking(server.url) as fetcher:
            for target in (f"{other.url}/x", "x"):
                with pytest.raises(FetchFailed, match="another host"):
                    await fetcher.get(target)
    assert not other.asked


async def test_more_than_a_limit_is_not_read() -> None:
    async with serving(lambda _asked: Answer(b"x" * 100_000)) as server, asking(server.url) as fetcher:
        with pytest.raises(FetchFailed, match="more than 1000 bytes"):
            await fetcher.get("x", most_bytes=1000)


async def test_requests_keep_their_distance() -> None:
    moments: list[float] = []

    def answer(_asked: Asked) -> Answer:
        moments.append(asyncio.get_running_loop().time())
        return Answer()

    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(answer))
        slow = RemoteSettings("website", server.url, requests_per_second=20.0)
        fetcher = await stack.enter_async_context(Fetcher(slow))
        for _ in range(4):
            await fetcher.get("x")
    assert moments[-1] - moments[0] >= 0.14  # a lower bound: three gaps of 50 ms; slowness cannot break it


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("::ffff:10.0.0.1", False),
        ("::10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d70e", True),
        ("2002:a00:1::", False),
        ("2002:5db8:d70e::", True),
        ("2001:0:a00:1::", False),
    ],
)
def test_only_public_addresses_are_public(address: str, *, public: bool) -> None:
    assert is_public(ip_address(address)) is public


async def test_the_host_is_asked_by_the_address_that_was_looked_at_and_under_its_own_name() -> None:
    """A second answer of the name server changes nothing; the certificate is still the name's."""
    seen: list[httpx2.Request] = []

    class Noted(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            seen.append(request)
            if len(seen) == 1:
                raise httpx2.ConnectError("no way to that address")
            return httpx2.Response(200)

    async def addresses(_host: str, _port: int) -> list[str]:
        return ["2606:2800:21f:cb07:6820:80da:af6b:8b2c", "93.184.215.14"]

    transport = GuardedTransport(Noted(), addresses)
    await transport.handle_async_request(httpx2.Request("GET", "https://docs.example.com/x"))
    assert seen[-1].url.host == "93.184.215.14"
    assert seen[-1].headers["host"] == "docs.example.com"
    assert seen[-1].extensions["sni_hostname"] == "docs.example.com"

    async def mixed(_host: str, _port: int) -> list[str]:
        return ["93.184.215.14", "10.0.0.1"]

    with pytest.raises(AddressRefused, match="private_network"):
        await GuardedTransport(Noted(), mixed).handle_async_request(httpx2.Request("GET", "https://docs.example.com/"))


class Reached(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=str(request.url))


async def test_a_name_that_leads_into_the_private_network_is_refused() -> None:
    """`localhost.localdomain` and the like come from the machine's own list of hosts, without any network."""
    transport = GuardedTransport(Reached())
    with pytest.raises((AddressRefused, httpx2.ConnectError)):
        await transport.handle_async_request(httpx2.Request("GET", "http://ip6-localhost/x"))
    for literal in ("http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost:9/x"):
        reply = await transport.handle_async_request(httpx2.Request("GET", literal))
        assert reply.text == literal
