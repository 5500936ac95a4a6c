"""The transport for `/v1`: HTTP/1.1 straight on the event loop's sockets."""

import asyncio
import ssl

from gateway.upstream.connection import Connection
from gateway.upstream.faults import Aborted, ConnectFailed, ConnectTimedOut
from gateway.upstream.pool import Pool
from gateway.upstream.port import Deadlines, Lease, Origin, Outgoing
from gateway.upstream.reply import Http1Reply
from gateway.upstream.request import request_head
from gateway.upstream.tls import tls_context


class Http1Transport:
    """`port.Transport` over `Connection`s. Made anywhere; used on one event loop."""

    def __init__(self, *, max_idle: int = 256, max_age_seconds: float = 30) -> None:
        self.pool: Pool[Connection] = Pool(max_idle=max_idle, max_age_seconds=max_age_seconds)
        self._contexts: dict[tuple[str, bool, str | None], ssl.SSLContext | None] = {}
        self._opening: set[asyncio.Task[object]] = set()
        self._is_closed = False

    @property
    def active_count(self) -> int:
        """How many connections serve a call now."""
        return self.pool.active_count

    @property
    def idle_count(self) -> int:
        """How many connections wait for a next call."""
        return self.pool.idle_count

    async def send(self, origin: Origin, outgoing: Outgoing, deadlines: Deadlines, lease: Lease) -> Http1Reply:
        """The reply, as soon as its head has come: see `port.Transport.send`."""
        request = request_head(origin, outgoing) + outgoing.body
        lease.check()
        if self._is_closed:
            raise ConnectFailed("The transport is closed.")
        started = asyncio.get_running_loop().time()
        connection = self.pool.take(origin)
        if connection is None:
            connection = await self._connect(origin, deadlines, lease)
        reply = Http1Reply(connection, lease, deadlines, started, is_head=outgoing.method == "HEAD")
        lease.hold(reply.abort)
        connection.start(request, reply)
        await reply.head()
        return reply

    async def close(self) -> None:
        """Ends every call with Aborted and closes every connection."""
        self._is_closed = True
        self.pool.close()
        for opening in self._opening:
            opening.cancel()
        if self._opening:
            await asyncio.wait(self._opening)
        # The loop closes the sockets in its next round.
        await asyncio.sleep(0)

    async def _connect(self, origin: Origin, deadlines: Deadlines, lease: Lease) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(origin, self.pool, loop)
        # A task, so that `lease.abort` and the deadline can end it without touching the caller's own task.
        opening: asyncio.Task[object] = loop.create_task(self._open(connection, loop))
        self._opening.add(opening)
        opening.add_done_callback(self._opened)
        lease.hold(opening.cancel)
        seconds = min(deadlines.connect_seconds, deadlines.total_seconds)
        try:
            await asyncio.wait((opening,), timeout=seconds)
        except BaseException:
            connection.close()
            opening.cancel()
            raise
        finally:
            lease.hold(None)
        where = f"{origin.host}:{origin.port}"
        if lease.aborted or self._is_closed:
            connection.close()
            raise Aborted(f"The call was given up while connecting to {where}.", sent=False)
        if not opening.done():
            connection.close()
            opening.cancel()
            raise ConnectTimedOut(f"No connection to {where} within {seconds:g} s.")
        fault = opening.exception()
        if fault is not None:
            connection.close()
            if isinstance(fault, (OSError, UnicodeError)):
                raise ConnectFailed(f"No connection to {where}: {fault}") from fault
            raise fault
        if not connection.is_clean:
            raise ConnectFailed(f"{where} closed the connection, or spoke first.")
        return connection

    async def _open(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        origin = connection.origin
        identity = (origin.scheme, origin.verify, origin.ca_file)
        if identity not in self._contexts:
            # In a thread: it reads some 150 certificates from disk.
            self._contexts[identity] = await loop.run_in_executor(None, tls_context, origin)
        context = self._contexts[identity]
        await loop.create_connection(
            lambda: connection,
            origin.host,
            origin.port,
            ssl=context,
            server_hostname=origin.host if context is not None else None,
        )

    def _opened(self, opening: asyncio.Task[object]) -> None:
        self._opening.discard(opening)
        if not opening.cancelled():
            opening.exception()  # looked at, so that an abandoned one is not logged as never retrieved
