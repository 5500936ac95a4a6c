"""A door in front of PostgreSQL that can be shut, stall, refuse, or lose the answer to a COMMIT."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

SOCKET = ".s.PGSQL.5432"
Mode = Literal["pass", "stop", "hang", "refuse"]
COMMIT = b"COMMIT"


class DatabaseProxy:
    """One proxy on a socket of its own, in a thread of its own.

    mode: `pass`; `stop` (connections are cut and none can be made); `hang` (they are taken and nothing answers);
    `refuse` (they are taken and told that there are too many). lose_every: of so many commits one is carried out and
    its answer lost with the connection; 0 for none. lost: how many were.
    """

    def __init__(self, server: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pgdoor-"))
        self.mode: Mode = "pass"
        self.lose_every = 0
        self.commits = 0
        self.lost = 0
        self._server = server / SOCKET
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pgdoor", daemon=True)
        self._listener: asyncio.Server | None = None

    def url(self, behind: str) -> str:
        """The URL of a database of the server as it is reached through here."""
        return behind.partition("?host=")[0] + f"?host={self.folder}"

    def turn(self, mode: Mode) -> None:
        """Changes what happens from now on, to connections that are open too."""
        asyncio.run_coroutine_threadsafe(self._turn(mode), self._loop).result(10)

    async def _turn(self, mode: Mode) -> None:
        self.mode = mode
        if mode == "stop":
            if self._listener is not None:
                self._listener.close()
                self._listener = None
                (self.folder / SOCKET).unlink(missing_ok=True)
        elif self._listener is None:
            self._listener = await asyncio.start_unix_server(self._connected, str(self.folder / SOCKET))
        if mode in {"stop", "refuse"}:
            for writer in list(self._open):
                writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self.mode == "refuse":
                told = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"
                writer.write(b"E" + (len(told) + 4).to_bytes(4, "big") + told)
                await writer.drain()
                return
            behind_reader, behind = await asyncio.open_unix_connection(str(self._server))
            self._open.add(behind)
            losing = asyncio.Event()
            both = (
                self._pipe(reader, behind, losing, asks=True),
                self._pipe(behind_reader, writer, losing, asks=False),
            )
            await asyncio.wait([asyncio.ensure_future(one) for one in both], return_when=asyncio.FIRST_COMPLETED)
            self._open.discard(behind)
            behind.transport.abort()
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event, *, asks: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                while self.mode == "hang":
                    await asyncio.sleep(0.02)
                if asks and COMMIT in chunk:
                    self.commits += 1
                    if self.lose_every and self.commits % self.lose_every == 0:
                        losing.set()
                elif not asks and losing.is_set() and COMMIT in chunk:
                    # The server has said that it is done; nobody will hear of it.
                    self.lost += 1
                    return
                writer.write(chunk)
                await writer.drain()

    def _start(self) -> None:
        self._thread.start()
        self.turn("pass")

    def _end(self) -> None:
        self.turn("stop")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.folder.rmdir()


@contextmanager
def database_proxy(server: Path) -> Iterator[DatabaseProxy]:
    """A door to the server whose socket is in that folder; shut when the block is left."""
    proxy = DatabaseProxy(server)
    proxy._start()
    try:
        yield proxy
    finally:
        proxy._end()
