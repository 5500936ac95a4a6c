"""Small documents: no answer, one that is too long, and one that leads elsewhere."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.core.errors import UpstreamFailed
from gateway.upstream.fetch import LONGEST, Fetcher
from tests.fakes.scripted_server import Visit, scripted


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher()
    yield made
    await made.close()


async def endless(visit: Visit) -> None:
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LONGEST * 4))
    try:
        for _ in range(4):
            await visit.write(b"x" * LONGEST)
    except (ConnectionError, asyncio.CancelledError):
        return


async def elsewhere(visit: Visit) -> None:
    await visit.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")


async def test_what_is_too_long_is_not_read_whole(fetcher: Fetcher) -> None:
    async with scripted(endless) as server:
        with pytest.raises(UpstreamFailed, match="more than"):
            await fetcher.get(f"http://127.0.0.1:{server.origin.port}/", {})


async def test_no_redirect_is_followed(fetcher: Fetcher) -> None:
    async with scripted(elsewhere) as server:
        status, body = await fetcher.get(f"http://127.0.0.1:{server.origin.port}/", {})
    assert (status, body) == (302, b"")
