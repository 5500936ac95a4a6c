"""A caller of a transport that reads whole replies, and the bytes that tests say most."""

import asyncio
from collections.abc import Callable

from gateway.upstream.port import Deadlines, Lease, Outgoing, Reply, Transport
from tests.fakes.scripted_server import ScriptedServer

OK = b"HTTP/1.1 200 OK\r\n"
HI = OK + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
POST = Outgoing("POST", b"/chat?x=1", ((b"content-type", b"application/json"),), b"{}")
PATIENT = Deadlines(5, 5, 5, 10)


async def whole(reply: Reply) -> bytes:
    parts = []
    while data := await reply.read():
        parts.append(data)
    return b"".join(parts)


async def call(transport: Transport, server: ScriptedServer, outgoing: Outgoing = POST) -> tuple[int, bytes]:
    reply = await transport.send(server.origin, outgoing, PATIENT, Lease())
    return reply.status, await whole(reply)


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)
