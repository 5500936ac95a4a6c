"""A target that has gone bad. `python -m bench.faulty PORT MODE`; MODE is 500, hang or drip."""

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from bench.bodies import plain_reply

MODES = ("500", "hang", "drip")
REFUSAL = b'{"error":{"message":"The server had an error.","type":"server_error","param":null,"code":null}}'
REFUSED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(REFUSAL),
    REFUSAL,
)
BODY = plain_reply()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)
APART_SECONDS = 1.0


class FaultyProtocol(asyncio.Protocol):
    """One connection: each request is refused, never answered, or answered by one byte a second."""

    mode = MODES[0]

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._said = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.mode == "500":
            self._transport.write(REFUSED)
        elif self.mode == "drip":
            self._transport.write(HEAD)
            self._drip()

    def _drip(self) -> None:
        if self._transport.is_closing() or self._said == len(BODY):
            return
        self._transport.write(BODY[self._said : self._said + 1])
        self._said += 1
        self._loop.call_later(APART_SECONDS, self._drip)


async def main(port: int, mode: str) -> None:
    """Serves until it is ended."""
    FaultyProtocol.mode = mode
    server = await asyncio.get_running_loop().create_server(FaultyProtocol, "127.0.0.1", port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
