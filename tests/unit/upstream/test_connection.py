"""What only our own HTTP/1.1 connection promises; what every transport does stands in `contracts/`."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway.upstream.connection import BUFFER_LIMIT_BYTES
from gateway.upstream.port import (
    Aborted,
    ConnectFailed,
    Deadlines,
    FirstByteTimedOut,
    Lease,
    NotAnswered,
    Origin,
    Outgoing,
    ReplyBroken,
)
from gateway.upstream.transport import Http1Transport
from tests.fakes.caller import CHUNKED, HI, OK, PATIENT, POST, call, whole
from tests.fakes.scripted_server import Visit, says, scripted

LARGE = Outgoing("POST", b"/", (), b"x" * 20_000_000)
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    made = Http1Transport()
    yield made
    await made.close()
    assert made.active_count == made.idle_count == 0


@pytest.fixture
async def raw() -> AsyncIterator[Callable[[Raw], Awaitable[Origin]]]:
    """Starts a server that is nothing but a function over its streams."""
    listeners = []

    async def start(serve: Raw) -> Origin:
        async def tidy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await serve(reader, writer)
            finally:
                writer.close()

        listener = await asyncio.start_server(tidy, "127.0.0.1", 0, limit=2**16)
        listeners.append(listener)
        return Origin("http", "127.0.0.1", listener.sockets[0].getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    ("promise", "accepted"),
    [(b"timeout=1", 2), (b"timeout=20, max=9", 1), (b"max=9", 1), (b"timeout=soon", 1)],
)
async def test_keep_alive_header_is_honoured(transport: Http1Transport, promise: bytes, accepted: int) -> None:
    reply = OK + b"Keep-Alive: " + promise + b"\r\nContent-Length: 0\r\n\r\n"
    async with scripted(says(reply)) as server:
        await call(transport, server)
        await call(transport, server)
        assert server.accepted == accepted


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 2\n\nhi",
        OK + b"X-Folded: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nX-A: " + b"a" * 90_000 + b"\r\n\r\n" + HI,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000 + HI,
    ],
    ids=["101", "http2", "gzip", "xchunked", "bare-lf", "folded", "long-100", "endless-100"],
)
async def test_what_was_not_asked_for_is_refused(transport: Http1Transport, reply: bytes) -> None:
    async with scripted(says(reply, then="hang")) as server:
        with pytest.raises(ReplyBroken):
            await call(transport, server)


@pytest.mark.parametrize("part", [b"X-T: " + b"t" * 1000 + b"\r\n", b"t" * 1000], ids=["many", "long"])
async def test_endless_trailer_is_cut_off(transport: Http1Transport, part: bytes) -> None:
    """Trailers are dropped, so no reader would ever notice how many come."""

    async def script(visit: Visit) -> None:
        await visit.write(CHUNKED + b"2\r\nhi\r\n0\r\n" + (b"" if b":" in part else b"x: "))
        while True:
            await visit.write(part)
            await asyncio.sleep(0)

    async with scripted(script) as server:
        with pytest.raises(ReplyBroken):
            await call(transport, server)


async def test_unread_bytes_are_bounded(transport: Http1Transport) -> None:
    async with scripted(says(OK + b"Content-Length: 5000000\r\n\r\n", b"x" * 5_000_000)) as server:
        reply = await transport.send(server.origin, POST, PATIENT, Lease())
        await asyncio.sleep(0.2)
        # One read of the loop may come on top: 256 KiB at most.
        assert reply.size <= BUFFER_LIMIT_BYTES + 256 * 1024
        assert len(await whole(reply)) == 5_000_000
        assert transport.idle_count == 1


async def test_burst_of_events_is_one_read(transport: Http1Transport) -> None:
    async with scripted(says(CHUNKED + b"6\r\ndata: \r\n" * 104 + b"0\r\n\r\n")) as server:
        reply = await transport.send(server.origin, POST, PATIENT, Lease())
        assert await reply.read() == b"data: " * 104
        assert await reply.read() == b""


async def test_finished_calls_leave_nothing_to_the_garbage_collector(transport: Http1Transport) -> None:
    async with scripted(says(HI)) as server:
        await call(transport, server)
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                await call(transport, server)
            assert not [each for each in gc.get_objects() if type(each).__name__ == "Http1Reply"]
        finally:
            gc.enable()


async def test_server_that_speaks_first_gets_nothing(
    transport: Http1Transport, raw: Callable[[Raw], Awaitable[Origin]]
) -> None:
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        got.append(await reader.read())

    origin = await raw(serve)
    with pytest.raises((ConnectFailed, ReplyBroken)):
        await transport.send(origin, POST, PATIENT, Lease())
    assert transport.active_count == transport.idle_count == 0


async def test_upload_that_moves_is_not_late(
    transport: Http1Transport, raw: Callable[[Raw], Awaitable[Origin]]
) -> None:
    """The wait for the head starts when the request has left, however long that takes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = len(LARGE.body)
        while left:
            left -= len(await reader.read(2**16))
            await asyncio.sleep(0.004)
        writer.write(HI)
        await reader.read()

    reply = await transport.send(await raw(serve), LARGE, Deadlines(5, 0.8, 5, 30), Lease())
    assert await whole(reply) == b"hi"
    assert transport.idle_count == 1


async def test_upload_that_stalls_is_late(transport: Http1Transport, raw: Callable[[Raw], Awaitable[Origin]]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)

    with pytest.raises(FirstByteTimedOut):
        await transport.send(await raw(serve), LARGE, Deadlines(5, 0.2, 5, 30), Lease())


async def test_reply_to_an_unfinished_request_is_given_and_the_connection_closed(
    transport: Http1Transport, raw: Callable[[Raw], Awaitable[Origin]]
) -> None:
    """Else the rest of the request would be read as the start of the next one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await asyncio.sleep(0.3)

    reply = await transport.send(await raw(serve), LARGE, PATIENT, Lease())
    assert (reply.status, await whole(reply)) == (413, b"big")
    assert transport.active_count == transport.idle_count == 0


async def test_lease_serves_the_attempts_of_a_call_in_turn(transport: Http1Transport) -> None:
    async def script(visit: Visit) -> None:
        if len(server.visits) == 1:
            visit.close()
        else:
            await visit.write(CHUNKED + b"2\r\nhi\r\n")
            await visit.gone()

    lease = Lease()
    async with scripted(script) as server:
        with pytest.raises(NotAnswered):
            await transport.send(server.origin, POST, PATIENT, lease)
        reply = await transport.send(server.origin, POST, PATIENT, lease)
        assert await reply.read() == b"hi"
        lease.abort()
        with pytest.raises(Aborted):
            await reply.read()
        await server.until(lambda: server.open == 0)


async def test_calls_in_turn_keep_one_timer(transport: Http1Transport) -> None:
    """A timer per call would be the dearest part of it; the deadline still holds on a reused connection."""

    async def script(visit: Visit) -> None:
        if visit.number <= 3:
            await visit.write(HI)
        else:
            await visit.gone()

    async with scripted(script) as server:
        for _ in range(3):
            await call(transport, server)
        with pytest.raises(FirstByteTimedOut):
            await transport.send(server.origin, POST, Deadlines(5, 0.2, 5, 10), Lease())
