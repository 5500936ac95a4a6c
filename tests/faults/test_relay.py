"""A stream is passed on as it comes, and a slow reader costs its own socket's buffers and no more."""

import asyncio
from pathlib import Path

import httpx2

from tests.fakes.running_gateway import RunningGateway, until
from tests.fakes.scripted_server import Visit, scripted

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ASKED = {"model": "scripted-model", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


def event(text: str) -> bytes:
    return (
        b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
        b'"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % text.encode()
    )


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_the_first_byte_goes_out_before_the_second_comes_in(gateway: RunningGateway) -> None:
    """The upstream says its second word only when the caller has read the first."""
    heard = asyncio.Event()
    key = gateway.key("listeners")

    async def script(visit: Visit) -> None:
        await visit.write(HEAD + chunked(event("first")))
        async with asyncio.timeout(5):
            await heard.wait()
        await visit.write(chunked(event("second")) + chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with (
        scripted(script, port=gateway.scripted_port),
        httpx2.AsyncClient(timeout=10) as client,
        client.stream(
            "POST", f"{gateway.base_url}/chat/completions", json=ASKED, headers={"authorization": f"Bearer {key}"}
        ) as reply,
    ):
        parts = reply.aiter_raw()
        assert b"first" in await anext(parts)
        heard.set()
        rest = b"".join([part async for part in parts])
    assert b"second" in rest
    assert rest.endswith(b"data: [DONE]\n\n")


async def test_comments_unknown_events_and_odd_bytes_pass_untouched(gateway: RunningGateway) -> None:
    said = (
        b": keep-alive\n\n"
        b'event: of-our-own\r\nid: 7\r\nretry: 10\r\ndata: {"a" : 1.50}\r\n\r\n'
        b"data: not json at all\n\n" + event("caf\u00e9 \\n\\ndata: [DONE]\\n\\n") + b"data: [DONE]\n\n"
    )
    key = gateway.key("listeners")

    async def script(visit: Visit) -> None:
        await visit.write(HEAD)
        for place in range(0, len(said), 7):
            await visit.write(chunked(said[place : place + 7]))
        await visit.write(b"0\r\n\r\n")

    async with scripted(script, port=gateway.scripted_port):
        reply = await gateway.asynchronous(
            "POST", "/v1/chat/completions", httpx2.Request("POST", "http://x", json=ASKED).content, key=key
        )
    assert reply.content == said


def resident_bytes(gateway: RunningGateway) -> int:
    assert gateway.process is not None
    for line in Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def test_a_reader_that_stops_does_not_fill_the_gateway(gateway: RunningGateway) -> None:
    """An upstream that would send 200 MB is stopped at the border once the caller's buffers are full."""
    key = gateway.key("sleepers")
    block = chunked(event("x" * 60_000))
    sent = 0

    async def script(visit: Visit) -> None:
        nonlocal sent
        await visit.write(HEAD)
        for _ in range(3_400):
            await visit.write(block)
            sent += len(block)

    before = resident_bytes(gateway)
    async with scripted(script, port=gateway.scripted_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        body = httpx2.Request("POST", "http://x", json=ASKED).content
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
            % (key.encode(), len(body), body)
        )
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        stood = -1
        while stood != sent:
            stood = sent
            await asyncio.sleep(0.5)
        # Sockets buffer some megabytes on loopback; the gateway's own share is 64 kB a side.
        assert sent < 40_000_000
        assert resident_bytes(gateway) - before < 30_000_000
        writer.transport.abort()
    [row] = gateway.rows_of("sleepers", 1)
    assert row["outcome"] == "caller_left"
    until(lambda: gateway.counted("gateway_in_flight") == 0)
