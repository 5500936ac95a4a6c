"""An upstream whose streams take their time: 104 events, 10 ms apart. `python -m bench.paced PORT`."""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from bench.bodies import plain_reply, stream_events

APART_SECONDS = 0.01
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PLAIN = plain_reply()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(PLAIN), PLAIN)
CHUNKS = [b"%x\r\n%b\r\n" % (len(event), event) for event in stream_events()]
END = b"0\r\n\r\n"


class PacedProtocol(asyncio.Protocol):
    """One connection: each request that asks for a stream gets one, each other its whole reply."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._next = 0
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        streams = b'"stream": true' in self._body or b'"stream":true' in self._body
        self._body = b""
        if not streams:
            self._transport.write(WHOLE)
            return
        self._transport.write(HEAD)
        self._next, self._due = 0, self._loop.time()
        self._step()

    def _step(self) -> None:
        if self._transport.is_closing():
            return
        if self._next == len(CHUNKS):
            self._transport.write(END)
            return
        self._transport.write(CHUNKS[self._next])
        self._next += 1
        # From the plan and not from now: lateness must not add up.
        self._due += APART_SECONDS
        self._loop.call_at(self._due, self._step)


async def main(port: int) -> None:
    """Serves until it is ended."""
    server = await asyncio.get_running_loop().create_server(PacedProtocol, "127.0.0.1", port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
