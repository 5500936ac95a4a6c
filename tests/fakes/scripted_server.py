"""An upstream on a real loopback port that does what a test's script says, byte for byte."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.upstream.port import Origin


class Visit:
    """One request as it came, and the raw connection to answer it on. `number` counts per connection."""

    def __init__(
        self,
        head: bytes,
        body: bytes,
        number: int,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.head = head
        self.body = body
        self.number = number
        self._reader, self._writer = streams

    async def write(self, data: bytes) -> None:
        if self._writer.is_closing():
            raise ConnectionResetError("the client left")
        self._writer.write(data)
        await self._writer.drain()

    def half_close(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Returns when the client closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass


Script = Callable[[Visit], Awaitable[None]]


class ScriptedServer:
    """Runs the script for each request; counts connections, so that reuse and leaks can be seen."""

    def __init__(self, script: Script, *, is_mute: bool = False) -> None:
        self.script = script
        self.accepted = 0
        self.open = 0
        self.visits: list[Visit] = []
        self.origin = Origin("http", "127.0.0.1", 0)
        self._is_mute = is_mute
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def until(self, condition: Callable[[], bool], seconds: float = 5) -> None:
        """Returns when the condition holds; looked at whenever anything happens here."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        self._changed.set()
        try:
            if self._is_mute:
                await Visit(b"", b"", 0, (reader, writer)).gone()
            else:
                await self._requests(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self.open -= 1
            self._tasks.discard(task)
            self._changed.set()
            writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while not writer.is_closing():
            head = await reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            body = await reader.readexactly(length)
            number += 1
            visit = Visit(head, body, number, (reader, writer))
            self.visits.append(visit)
            self._changed.set()
            await self.script(visit)
        await writer.wait_closed()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def says(*parts: bytes, then: str = "stay") -> Script:
    """A script that writes these parts, a moment apart, and then stays, closes or waits for the client."""

    async def script(visit: Visit) -> None:
        for index, part in enumerate(parts):
            if index:
                await asyncio.sleep(0.01)
            await visit.write(part)
        if then == "close":
            visit.close()
        elif then == "hang":
            await visit.gone()

    return script


@contextlib.asynccontextmanager
async def scripted(
    script: Script,
    *,
    tls: ssl.SSLContext | None = None,
    is_mute: bool = False,
    ca_file: str | None = None,
    port: int = 0,
) -> AsyncIterator[ScriptedServer]:
    """A running server. is_mute: it accepts connections and never says a byte, not even TLS's. port: 0 is any."""
    server = ScriptedServer(script, is_mute=is_mute)
    listener = await asyncio.start_server(server._serve, "127.0.0.1", port, ssl=tls, backlog=1024)
    port = listener.sockets[0].getsockname()[1]
    if tls is not None:
        server.origin = Origin("https", "localhost", port, ca_file=ca_file)
    else:
        server.origin = Origin("http", "127.0.0.1", port)
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
