"""The transport for what is unusual (HTTP/2, forward proxies), on httpx2, at ten times the cost of our own.

It uses httpx2 below its client: a client adds headers, keeps cookies and reads the environment. What it
cannot promise: under TLS, a body without a length that was cut off looks whole to it.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar, cast

import httpx2

from gateway.core.call import Headers
from gateway.upstream.faults import (
    Aborted,
    BetweenTimedOut,
    ConnectFailed,
    ConnectTimedOut,
    FirstByteTimedOut,
    NotAnswered,
    ReplyBroken,
    TotalTimedOut,
    TransportError,
)
from gateway.upstream.port import Deadlines, Lease, Origin, Outgoing
from gateway.upstream.request import authority, request_head
from gateway.upstream.tls import tls_context

HEADER_LIMIT = 200
_BODY_METHODS = frozenset(("POST", "PUT", "PATCH"))

T = TypeVar("T")


class HttpxReply:
    """A reply from httpx2: see `port.Reply`. The total deadline is looked at when it is read."""

    def __init__(self, transport: "HttpxTransport", deadlines: Deadlines, lease: Lease) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.was_sent = False
        self.sent_at = asyncio.get_running_loop().time()
        self._transport = transport
        self._deadlines = deadlines
        self._lease = lease
        self._due = asyncio.get_running_loop().time() + deadlines.total_seconds
        self._body: AsyncGenerator[bytes, None] | None = None
        self._response: httpx2.Response | None = None
        self._reading: asyncio.Task[Any] | None = None
        self._is_over = False
        self._has_ended = False
        self._is_aborted = False

    async def open(self, inner: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> None:
        """Returns once status and headers are there."""
        timeouts = {
            "connect": self._deadlines.connect_seconds,
            "write": self._deadlines.first_byte_seconds,
            "read": self._deadlines.first_byte_seconds,
            "pool": None,
        }
        request.extensions |= {"timeout": timeouts, "trace": self._trace}
        try:
            response = await self._within(None, self._head(inner, request))
        except (httpx2.HTTPError, OSError) as fault:
            self._stop()
            raise self._opening_fault(fault) from fault
        self._body = cast("AsyncGenerator[bytes, None]", aiter(cast("Any", response.stream)))
        # The same setting would bound each read of the body; that wait has a deadline of our own.
        timeouts["read"] = None
        self.headers = tuple((name.lower(), value) for name, value in response.headers.raw)
        names = {name for name, _ in self.headers}
        if {b"content-length", b"transfer-encoding"} <= names or len(self.headers) > HEADER_LIMIT:
            self._stop()
            raise ReplyBroken("The reply is framed in two ways, or has too many headers.")
        self.status = response.status_code
        self._lease.hold(self.abort)

    async def read(self) -> bytes:
        """The next bytes of the body: see `port.Reply.read`."""
        if self._is_aborted:
            raise Aborted("The call was given up.")
        if self._has_ended or self._body is None:
            return b""
        if self._is_over:
            raise ReplyBroken("The body broke off earlier.")
        try:
            data = await self._within(self._deadlines.between_seconds, self._next(self._body))
        except (httpx2.HTTPError, OSError) as fault:
            self._stop()
            raise ReplyBroken(f"The body broke off: {fault}") from fault
        if data:
            self._lease.hold(self.abort)
        return data

    def abort(self) -> None:
        """Closes the connection unless the body was read to its end; who waits in `read` wakes. Idempotent."""
        if not self._is_over:
            self._is_aborted = True
            if self._reading is not None:
                self._reading.cancel()
            self._stop()

    async def _within(self, seconds: float | None, work: Coroutine[Any, Any, T]) -> T:
        """What `work` gives, unless the lease, a deadline or the caller's cancellation comes first."""
        left = max(self._due - asyncio.get_running_loop().time(), 0)
        wait_seconds = left if seconds is None else min(seconds, left)
        # A task of its own: cancelling it ends the wait without touching the caller's task.
        task = self._transport.own(work)
        self._reading = task
        self._lease.hold(task.cancel)
        try:
            await asyncio.wait((task,), timeout=wait_seconds)
        except BaseException:
            task.cancel()
            self.abort()
            raise
        finally:
            self._lease.hold(None)
        if self._lease.aborted or self._is_aborted or task.cancelled():
            task.cancel()
            self.abort()
            raise Aborted("The call was given up.", sent=self.was_sent)
        if task.done():
            return task.result()
        task.cancel()
        self._stop()
        if wait_seconds == left:
            text = f"The call was not over after {self._deadlines.total_seconds:g} s."
            raise TotalTimedOut(text, sent=self.was_sent)
        raise BetweenTimedOut(f"No more of the body for {wait_seconds:g} s.")

    async def _head(self, inner: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
        # Kept here: the waiting task may be cancelled in the moment in which the head comes.
        self._response = await inner.handle_async_request(request)
        return self._response

    async def _next(self, body: AsyncGenerator[bytes, None]) -> bytes:
        async for data in body:
            return data
        if self._response is not None and not _is_clean(self._response):
            # A closed socket: the pool finds it dead and drops it.
            await self._response.extensions["network_stream"].aclose()
        # Here, not in the background: the next call may come at once, and wants the connection.
        self._is_over = self._has_ended = True
        await self._close_stream()
        return b""

    def _stop(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._lease.hold(None)
        self._transport.own(self._release())

    async def _release(self) -> None:
        try:
            if self._reading is not None:
                # A cancelled one closes the connection itself, and takes a moment.
                await asyncio.wait((self._reading,))
        finally:
            await self._close_stream()

    async def _close_stream(self) -> None:
        try:
            if self._body is not None:
                await self._body.aclose()
            if self._response is not None:
                await self._response.aclose()
        finally:
            self._transport.forget(self)

    async def _trace(self, name: str, _info: object) -> None:
        if name.endswith("send_request_headers.started"):
            self.was_sent = True
        elif name.endswith("send_request_body.complete"):
            self.sent_at = asyncio.get_running_loop().time()

    def _opening_fault(self, fault: Exception) -> TransportError:
        if isinstance(fault, httpx2.ConnectTimeout):
            return ConnectTimedOut(f"No connection within {self._deadlines.connect_seconds:g} s.")
        if not self.was_sent:
            return ConnectFailed(f"No connection: {fault}")
        if isinstance(fault, httpx2.TimeoutException):
            return FirstByteTimedOut(f"No reply head within {self._deadlines.first_byte_seconds:g} s.")
        # httpx2 has one class for both; its text for a closed connection is part of httpcore2's source.
        if isinstance(fault, httpx2.RemoteProtocolError) and "disconnected" not in str(fault):
            return ReplyBroken(f"The reply is not sound HTTP: {fault}")
        return NotAnswered(f"The connection was closed before the reply head came: {fault}")


class HttpxTransport:
    """`port.Transport` over httpx2. Made anywhere; used on one event loop."""

    def __init__(
        self,
        *,
        http2: bool = False,
        proxy: str | None = None,
        max_idle: int = 256,
        max_age_seconds: float = 30,
    ) -> None:
        self._http2 = http2
        self._proxy = proxy
        self._limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=max_idle, keepalive_expiry=max_age_seconds
        )
        self._inner: dict[Origin, httpx2.AsyncHTTPTransport] = {}
        self._replies: set[HttpxReply] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    @property
    def active_count(self) -> int:
        """How many calls are not over."""
        return len(self._replies)

    @property
    def idle_count(self) -> int:
        """How many connections wait for a next call."""
        # httpx2 does not say; its pool does.
        pools = [cast("Any", inner)._pool for inner in self._inner.values()]  # noqa: SLF001
        return sum(connection.is_idle() for pool in pools for connection in pool.connections)

    async def send(self, origin: Origin, outgoing: Outgoing, deadlines: Deadlines, lease: Lease) -> HttpxReply:
        """The reply, as soon as its head has come: see `port.Transport.send`."""
        request_head(origin, outgoing)  # refuses what cannot be written
        lease.check()
        if self._is_closed:
            raise ConnectFailed("The transport is closed.")
        headers = [(b"host", authority(origin)), *outgoing.headers]
        if outgoing.body or outgoing.method in _BODY_METHODS:
            headers.append((b"content-length", b"%d" % len(outgoing.body)))
        request = httpx2.Request(
            outgoing.method,
            f"{origin.scheme}://{authority(origin).decode()}",
            headers=headers,
            stream=httpx2.ByteStream(outgoing.body),
            extensions={"target": origin.prefix.encode() + outgoing.target},
        )
        reply = HttpxReply(self, deadlines, lease)
        inner = self._inner_of(origin)
        self._replies.add(reply)
        await reply.open(inner, request)
        return reply

    async def close(self) -> None:
        """Ends every call with Aborted and closes every connection."""
        self._is_closed = True
        for reply in list(self._replies):
            reply.abort()
        for inner in self._inner.values():
            await inner.aclose()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """For replies: a task that `close` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def forget(self, reply: HttpxReply) -> None:
        """For replies: this one is over."""
        self._replies.discard(reply)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that an abandoned one is not logged as never retrieved

    def _inner_of(self, origin: Origin) -> httpx2.AsyncHTTPTransport:
        inner = self._inner.get(origin)
        if inner is None:
            try:
                context = tls_context(origin)
            except OSError as fault:
                raise ConnectFailed(f"No TLS for {origin.host}: {fault}") from fault
            inner = self._inner[origin] = httpx2.AsyncHTTPTransport(
                verify=context if context is not None else False,
                trust_env=False,
                http2=self._http2,
                limits=self._limits,
                proxy=self._proxy,
            )
        return inner


def _is_clean(response: httpx2.Response) -> bool:
    """No byte came after the reply, as far as can be known.

    httpx2 keeps such bytes and reads them as the reply to the next call on that connection, whoever makes
    it. It does not say that it has them, so this looks at its parser; where that cannot be found, the
    connection counts as unclean: a release that moves it costs speed, and a contract test, but no secrets.
    """
    if response.extensions.get("http_version") == b"HTTP/2":
        return True
    found: Any = response.stream
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state"):
        found = getattr(found, name, None)
    return getattr(found, "trailing_data", None) == (b"", False)
