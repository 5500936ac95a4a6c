"""What `port.Transport` promises about requests, replies, reuse and faults, on real sockets."""

import asyncio
import random
import socket

import pytest

from gateway.upstream.port import (
    BetweenTimedOut,
    ConnectFailed,
    ConnectTimedOut,
    Deadlines,
    FirstByteTimedOut,
    Lease,
    NotAnswered,
    Origin,
    Outgoing,
    ReplyBroken,
    TotalTimedOut,
    Transport,
)
from tests.fakes.caller import CHUNKED, HI, OK, PATIENT, POST, call, settled, whole
from tests.fakes.scripted_server import Visit, says, scripted


class TestRequests:
    async def test_request_goes_out_as_given(self, transport: Transport) -> None:
        async with scripted(says(HI)) as server:
            origin = Origin("http", "127.0.0.1", server.origin.port, prefix="/v1")
            outgoing = Outgoing("POST", b"/chat?a=%20b", ((b"x-one", b"1"), (b"x-one", b"2")), b'{"a":1}')
            await whole(await transport.send(origin, outgoing, PATIENT, Lease()))
            lines = server.visits[0].head.split(b"\r\n")
            assert lines[0] == b"POST /v1/chat?a=%20b HTTP/1.1"
            assert sorted(line.lower() for line in lines[1:] if line) == sorted(
                [
                    b"host: 127.0.0.1:%d" % origin.port,
                    b"x-one: 1",
                    b"x-one: 2",
                    b"content-length: 7",
                ]
            )
            assert server.visits[0].body == b'{"a":1}'

    async def test_post_without_body_says_length_zero(self, transport: Transport) -> None:
        async with scripted(says(HI)) as server:
            await call(transport, server, Outgoing("POST", b"/files/x/cancel", (), b""))
            assert b"content-length: 0" in server.visits[0].head.lower()

    @pytest.mark.parametrize(
        "outgoing",
        [
            Outgoing("POST", b"/", ((b"x-a", b"1\r\nx-b: 2"),), b""),
            Outgoing("POST", b"/", ((b"x-a", b"1\nx-b: 2"),), b""),
            Outgoing("POST", b"/", ((b"x-a", b"1\0"),), b""),
            Outgoing("POST", b"/", ((b"x-a: 1\r\nx-b", b"2"),), b""),
            Outgoing("POST", b"/", ((b"", b"2"),), b""),
            Outgoing("POST", b"/", ((b"X-Upper", b"2"),), b""),
            Outgoing("POST", b"/ HTTP/1.1\r\nx-b: 1", (), b""),
            Outgoing("POST", b"no-slash", (), b""),
            Outgoing("GET / HTTP/1.1\r\nx:", b"/", (), b""),
            Outgoing("POST", b"/", ((b"transfer-encoding", b"chunked"),), b""),
            Outgoing("POST", b"/", ((b"content-length", b"1"),), b""),
            Outgoing("POST", b"/", ((b"host", b"elsewhere"),), b""),
        ],
    )
    async def test_injection_is_refused_before_connecting(self, transport: Transport, outgoing: Outgoing) -> None:
        async with scripted(says(HI)) as server:
            with pytest.raises(ValueError):
                await transport.send(server.origin, outgoing, PATIENT, Lease())
            assert server.accepted == 0

    async def test_large_request_arrives_whole(self, transport: Transport) -> None:
        async with scripted(says(HI)) as server:
            body = random.Random(1).randbytes(5_000_000)
            assert await call(transport, server, Outgoing("POST", b"/", (), body)) == (200, b"hi")
            assert server.visits[0].body == body


class TestReplies:
    async def test_says_when_its_request_was_sent(self, transport: Transport) -> None:
        """After connecting, and before the upstream thought about it."""

        async def script(visit: Visit) -> None:
            await asyncio.sleep(0.2)
            await visit.write(HI)

        async with scripted(script) as server:
            loop = asyncio.get_running_loop()
            before = loop.time()
            reply = await transport.send(server.origin, POST, PATIENT, Lease())
            assert before <= reply.sent_at <= loop.time() - 0.15
            await whole(reply)

    @pytest.mark.parametrize(
        ("reply", "then", "body"),
        [
            (HI, "stay", b"hi"),
            (OK + b"Content-Length: 0\r\n\r\n", "stay", b""),
            (CHUNKED + b"2\r\nhi\r\n3;x=y\r\n yo\r\n0\r\nX-Trailer: 1\r\n\r\n", "stay", b"hi yo"),
            (OK + b"\r\nuntil the end", "close", b"until the end"),
            (b"HTTP/1.0 200 OK\r\n\r\nold", "close", b"old"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + HI, "stay", b"hi"),
            (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + HI, "stay", b"hi"),
        ],
        ids=["length", "empty", "chunked", "close", "http10", "continue", "early-hints"],
    )
    @pytest.mark.parametrize("pace", ["at-once", "byte-by-byte"])
    async def test_every_framing_gives_its_body(
        self, transport: Transport, reply: bytes, then: str, body: bytes, pace: str
    ) -> None:
        async def script(visit: Visit) -> None:
            for part in [reply[i : i + 1] for i in range(len(reply))] if pace == "byte-by-byte" else [reply]:
                await visit.write(part)
                await asyncio.sleep(0)
            if then == "close":
                visit.close()

        async with scripted(script) as server:
            assert await call(transport, server) == (200, body)

    async def test_headers_are_lower_case_and_in_order(self, transport: Transport) -> None:
        head = b"X-B: 1\r\nSet-Cookie: a\r\nSET-COOKIE: b\r\nContent-Length: 0\r\n\r\n"
        async with scripted(says(OK + head)) as server:
            reply = await transport.send(server.origin, POST, PATIENT, Lease())
            assert reply.headers == (
                (b"x-b", b"1"),
                (b"set-cookie", b"a"),
                (b"set-cookie", b"b"),
                (b"content-length", b"0"),
            )
            assert await reply.read() == b""
            assert await reply.read() == b""

    async def test_cookies_are_not_kept(self, transport: Transport) -> None:
        """A cookie of one caller's reply must not go out with another caller's request."""
        async with scripted(says(OK + b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")) as server:
            await call(transport, server)
            await call(transport, server)
            assert b"cookie" not in server.visits[1].head.lower()

    @pytest.mark.parametrize("status", [204, 304])
    async def test_no_content_has_no_body_and_keeps_the_connection(self, transport: Transport, status: int) -> None:
        async with scripted(says(b"HTTP/1.1 %d X\r\n\r\n" % status)) as server:
            assert await call(transport, server) == (status, b"")
            assert await call(transport, server) == (status, b"")
            assert server.accepted == 1

    async def test_head_has_no_body_whatever_its_headers_say(self, transport: Transport) -> None:
        async with scripted(says(OK + b"Content-Length: 200\r\n\r\n")) as server:
            head = Outgoing("HEAD", b"/", (), b"")
            assert await call(transport, server, head) == (200, b"")
            assert await call(transport, server, head) == (200, b"")
            assert server.accepted == 1

    async def test_redirects_and_errors_are_just_replies(self, transport: Transport) -> None:
        reply = b"HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
        async with scripted(says(reply)) as server:
            assert await call(transport, server) == (307, b"")
            assert len(server.visits) == 1

    async def test_first_chunk_is_readable_before_the_second_is_sent(self, transport: Transport) -> None:
        was_read = asyncio.Event()

        async def script(visit: Visit) -> None:
            await visit.write(CHUNKED + b"5\r\nfirst\r\n")
            await was_read.wait()
            await visit.write(b"6\r\nsecond\r\n0\r\n\r\n")

        async with scripted(script) as server:
            reply = await transport.send(server.origin, POST, PATIENT, Lease())
            assert await reply.read() == b"first"
            was_read.set()
            assert await whole(reply) == b"second"

    async def test_slow_reader_holds_the_upstream_back(self, transport: Transport) -> None:
        size = 20_000_000
        written = 0

        async def script(visit: Visit) -> None:
            nonlocal written
            await visit.write(OK + b"Content-Length: %d\r\n\r\n" % size)
            while written < size:
                await visit.write(b"x" * 100_000)
                written += 100_000

        async with scripted(script) as server:
            reply = await transport.send(server.origin, POST, PATIENT, Lease())
            await asyncio.sleep(0.3)
            assert written < size, "nothing was read, and yet all of it went somewhere"
            largest = total = 0
            while data := await reply.read():
                largest = max(largest, len(data))
                total += len(data)
                if total < 2_000_000:
                    await asyncio.sleep(0.005)
            assert total == size
            assert largest <= 1_000_000


class TestReuse:
    async def test_one_connection_serves_calls_in_turn(self, transport: Transport) -> None:
        async with scripted(says(HI)) as server:
            for _ in range(5):
                assert await call(transport, server) == (200, b"hi")
            assert server.accepted == 1
            await settled(lambda: transport.active_count == 0 and transport.idle_count == 1)

    async def test_calls_at_once_take_a_connection_each(self, transport: Transport) -> None:
        async with scripted(says(CHUNKED, b"2\r\nhi\r\n", b"0\r\n\r\n")) as server:
            replies = await asyncio.gather(*[call(transport, server) for _ in range(10)])
            assert replies == [(200, b"hi")] * 10
            assert server.accepted == 10

    @pytest.mark.parametrize(
        "reply",
        [
            OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            HI + b"late",
            HI + HI,
        ],
        ids=["close", "http10", "excess", "second-reply"],
    )
    async def test_unclean_connection_is_not_reused(self, transport: Transport, reply: bytes) -> None:
        async with scripted(says(reply)) as server:
            assert await call(transport, server) == (200, b"hi")
            assert await call(transport, server) == (200, b"hi")
            assert server.accepted == 2

    async def test_late_byte_poisons_an_idle_connection(self, transport: Transport) -> None:
        """Else it would be read as the start of the next caller's reply."""
        async with scripted(says(HI, b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")) as server:
            assert await call(transport, server) == (200, b"hi")
            await asyncio.sleep(0.1)
            assert await call(transport, server) == (200, b"hi")
            assert server.accepted == 2

    async def test_idle_connection_closed_by_the_upstream_is_not_used(self, transport: Transport) -> None:
        async with scripted(says(HI, b"", then="close")) as server:
            for _ in range(3):
                assert await call(transport, server) == (200, b"hi")
                await asyncio.sleep(0.1)
            assert server.accepted == 3

    async def test_reused_connection_that_closes_unanswered_is_not_retried(self, transport: Transport) -> None:
        """The upstream may have read the request, and a second one may be billed twice."""

        async def script(visit: Visit) -> None:
            if visit.number == 1:
                await visit.write(HI)
            else:
                visit.close()

        async with scripted(script) as server:
            await call(transport, server)
            with pytest.raises(NotAnswered) as caught:
                await call(transport, server)
            assert caught.value.sent
            assert len(server.visits) == 2


class TestFaults:
    async def test_refused_connection(self, transport: Transport) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            origin = Origin("http", "127.0.0.1", reserved.getsockname()[1])
            with pytest.raises(ConnectFailed) as caught:
                await transport.send(origin, POST, PATIENT, Lease())
        assert not caught.value.sent

    async def test_connect_deadline_covers_the_handshake(self, transport: Transport) -> None:
        async with scripted(says(), is_mute=True) as server:
            origin = Origin("https", "127.0.0.1", server.origin.port)
            with pytest.raises(ConnectTimedOut) as caught:
                await transport.send(origin, POST, Deadlines(connect_seconds=0.3), Lease())
            assert not caught.value.sent
            await server.until(lambda: server.open == 0)

    async def test_no_answer(self, transport: Transport) -> None:
        async with scripted(says(then="hang")) as server:
            with pytest.raises(FirstByteTimedOut) as caught:
                await transport.send(server.origin, POST, Deadlines(5, 0.2, 5, 10), Lease())
            assert caught.value.sent
            await server.until(lambda: server.open == 0)

    async def test_stall_in_the_body(self, transport: Transport) -> None:
        async with scripted(says(CHUNKED + b"2\r\nhi\r\n", then="hang")) as server:
            reply = await transport.send(server.origin, POST, Deadlines(5, 5, 0.2, 10), Lease())
            assert await reply.read() == b"hi"
            with pytest.raises(BetweenTimedOut):
                await reply.read()
            await server.until(lambda: server.open == 0)

    async def test_pause_of_the_reader_is_not_a_stall(self, transport: Transport) -> None:
        async with scripted(says(CHUNKED, *[b"2\r\nhi\r\n"] * 3, b"0\r\n\r\n")) as server:
            reply = await transport.send(server.origin, POST, Deadlines(5, 5, 0.2, 10), Lease())
            await asyncio.sleep(0.5)
            assert await whole(reply) == b"hi" * 3

    async def test_drip(self, transport: Transport) -> None:
        async def script(visit: Visit) -> None:
            await visit.write(CHUNKED)
            while True:
                await visit.write(b"1\r\n.\r\n")
                await asyncio.sleep(0.05)

        async with scripted(script) as server:
            reply = await transport.send(server.origin, POST, Deadlines(5, 5, 5, 0.5), Lease())
            with pytest.raises(TotalTimedOut):
                await whole(reply)
            await server.until(lambda: server.open == 0)

    @pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nConte"], ids=["nothing", "half-head"])
    @pytest.mark.parametrize("how", ["close", "reset"])
    async def test_connection_ends_before_the_head(self, transport: Transport, before: bytes, how: str) -> None:
        async def script(visit: Visit) -> None:
            await visit.write(before)
            await asyncio.sleep(0.05)
            getattr(visit, how)()

        async with scripted(script) as server:
            with pytest.raises(NotAnswered) as caught:
                await call(transport, server)
            assert caught.value.sent

    @pytest.mark.parametrize(
        "reply",
        [
            OK + b"Content-Length: 10\r\n\r\nhi",
            CHUNKED + b"2\r\nhi\r\n",
            CHUNKED + b"9\r\nhi",
            CHUNKED + b"2\r\nhi\r\n0\r\n",
        ],
        ids=["length", "between-chunks", "in-chunk", "before-the-last-line"],
    )
    async def test_truncated_body_is_given_and_then_named(self, transport: Transport, reply: bytes) -> None:
        async with scripted(says(reply, b"", then="close")) as server:
            answer = await transport.send(server.origin, POST, PATIENT, Lease())
            assert await answer.read() == b"hi"
            with pytest.raises(ReplyBroken):
                await answer.read()
            assert transport.idle_count == 0

    @pytest.mark.parametrize(
        "reply",
        [
            b"SSH-2.0-OpenSSH_9\r\n\r\n",
            OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
            OK + b"Content-Length: +2\r\n\r\nhi",
            CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n",
            OK + b"X-Long: " + b"x" * 300_000 + b"\r\n\r\n",
            OK + b"X-A: 1\r\n" * 1000 + b"Content-Length: 0\r\n\r\n",
        ],
        ids=["not-http", "length-and-chunked", "two-lengths", "odd-length", "bad-chunk", "long", "many"],
    )
    async def test_unsound_reply_is_broken_and_its_connection_gone(self, transport: Transport, reply: bytes) -> None:
        async with scripted(says(reply, then="hang")) as server:
            with pytest.raises(ReplyBroken):
                await call(transport, server)
            await server.until(lambda: server.open == 0)
            assert transport.idle_count == 0
