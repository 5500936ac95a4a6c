"""One HTTP/1.1 client connection: idle in the pool, or serving exactly one reply."""

import asyncio
import math
import ssl
from typing import Any, cast

import httptools

from gateway.upstream.faults import Aborted, NotAnswered, ReplyBroken
from gateway.upstream.pool import Pool
from gateway.upstream.port import Origin
from gateway.upstream.reply import TIMER_SLACK_SECONDS, Http1Reply

BUFFER_LIMIT_BYTES = 64 * 1024
HEAD_LIMIT_BYTES = 64 * 1024
HEADER_LIMIT = 200
_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"keep-alive"))


class Connection(asyncio.Protocol):
    """A socket and its parser. Reused only when nothing of the last reply can be left on it."""

    def __init__(self, origin: Origin, pool: "Pool[Connection]", loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.loop = loop
        self.idle_until = 0.0
        self._pool = pool
        self._transport: asyncio.Transport | None = None
        self._is_closed = False
        self._reply: Http1Reply | None = None
        # The parser appends straight to this list: a burst of 104 events runs no Python frame per event.
        self._body: list[bytes] = []
        self.on_body = self._body.append
        self._parser: Any = httptools.HttpResponseParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._framing: dict[bytes, bytes] = {}
        self._is_whole = False
        self._keeps = False  # both sides, as far as the reply says
        self._dry_bytes = 0  # bytes since the last that gave a head or a part of a body
        self._unsent_bytes = 0
        self._refusal = ""
        self._is_paused = False
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    @property
    def is_clean(self) -> bool:
        """Open, and no byte has come since the last reply: any late byte closes the connection."""
        transport = self._transport
        return transport is not None and not self._is_closed and not transport.is_closing()

    def start(self, request: bytes, reply: Http1Reply) -> None:
        """Writes a request; `reply` gets what comes back."""
        transport = cast("asyncio.Transport", self._transport)
        self._reply = reply
        self._is_whole = False
        self._fields = []
        if self._framing:
            self._framing = {}
        self._dry_bytes = 0
        transport.write(request)
        self._unsent_bytes = len(request)

    def watch(self, due: float) -> None:
        """Has the reply expire at `due` on the loop's clock. Cheap when a timer is already set for sooner."""
        self._due = due
        if due < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self.loop.call_at(due, self._look)

    def resume(self) -> None:
        """Reads on, after a pause for a slow reader."""
        if self._is_paused:
            self._is_paused = False
            # uvloop raises on a transport that closed itself and did not say so yet.
            if self.is_clean:
                cast("asyncio.Transport", self._transport).resume_reading()

    def close(self) -> None:
        """Closes the socket at once, unsent bytes or not; a reply on it fails with Aborted."""
        if self._is_closed:
            return
        self._is_closed = True
        self._pool.forget(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reply, self._reply = self._reply, None
        if self._transport is not None:
            # Not close(): that waits for unsent bytes, and an upstream that stopped reading takes none.
            self._transport.abort()
        if reply is not None:
            reply.fail(Aborted, "The transport was closed.")

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open, TLS agreed."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_closed:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=BUFFER_LIMIT_BYTES, low=0)
        self._pool.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the reply; or bytes that nobody asked for."""
        reply = self._reply
        if reply is None:
            # Nobody asked for it: whatever it is, it must not become the head of a next reply.
            self.close()
            return
        self._dry_bytes += len(data)
        is_spoilt = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as fault:
            is_spoilt = True
            if not self._is_whole:
                self._break(reply, f"The reply is not sound HTTP: {self._refusal or fault}.")
                return
        body = self._body
        if body:
            self._dry_bytes = 0
            reply.take(body[0] if len(body) == 1 else b"".join(body))
            body.clear()
        elif self._dry_bytes > HEAD_LIMIT_BYTES:
            self._break(reply, f"More than {HEAD_LIMIT_BYTES} bytes came without a body in them.")
            return
        if self._is_whole:
            self._finish(reply, is_spoilt=is_spoilt)
        elif reply.status:
            reply.wake()
            if reply.size > BUFFER_LIMIT_BYTES and not self._is_paused:
                self._is_paused = True
                cast("asyncio.Transport", self._transport).pause_reading()

    def eof_received(self) -> None:
        """The upstream says that nothing more comes."""
        reply = self._reply
        if reply is not None and self._ends_with_connection and self._is_farewell_signed():
            self._reply = None
            reply.end()
        elif reply is not None:
            self._cut_short(reply, "by the upstream")
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        reply = self._reply
        if reply is not None:
            self._cut_short(reply, f"({exc})" if exc else "by the upstream")
        self.close()
        # The parser holds our bound methods: cut the ring.
        self._parser = None
        self._transport = None

    def resume_writing(self) -> None:
        """A request that was too large to leave at once has left: the wait for the head starts now."""
        if self._reply is not None:
            self._reply.watch_head()

    # What the parser calls. It also calls on_body: see __init__.

    def on_message_begin(self) -> None:
        """A reply starts; a second one is nobody's."""
        if self._is_whole:
            self._refuse("a second reply came uncalled")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header or trailer; trailers are dropped."""
        if self._is_whole or self._reply is None or self._reply.status:
            return
        name = name.lower()
        self._fields.append((name, value))
        if name in _FRAMING:
            self._framing[name] = value

    def on_headers_complete(self) -> None:
        """The head is there: of the reply, or of an interim one, which is dropped."""
        reply = cast("Http1Reply", self._reply)
        fields = self._fields
        if len(fields) > HEADER_LIMIT:
            self._refuse(f"{len(fields)} headers are more than {HEADER_LIMIT}")
        if self._dry_bytes > HEAD_LIMIT_BYTES and sum(len(n) + len(v) for n, v in fields) > HEAD_LIMIT_BYTES:
            self._refuse(f"its head is longer than {HEAD_LIMIT_BYTES} bytes")
        status = self._parser.get_status_code()
        if status < 200:
            if status == 101:
                self._refuse("it switches protocols, which nobody asked for")
            self._fields = []
            self._framing = {}
            return
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            self._refuse(f"version {version} was not asked for")
        coding = self._framing.get(b"transfer-encoding")
        if coding is not None and coding.lower() != b"chunked":
            self._refuse(f"transfer-encoding {coding!r} is not understood here")
        reply.headers = tuple(fields)
        reply.status = status
        if reply.is_head:
            self._end_message()

    def on_message_complete(self) -> None:
        """The body is whole."""
        if not self._is_whole and cast("Http1Reply", self._reply).status:
            self._end_message()

    # What follows from it.

    def _end_message(self) -> None:
        self._is_whole = True
        # Asked here: the parser forgets it when it makes ready for a next message.
        self._keeps = self._parser.should_keep_alive()

    def _finish(self, reply: Http1Reply, *, is_spoilt: bool) -> None:
        transport = cast("asyncio.Transport", self._transport)
        keeps = self._keeps and not is_spoilt and transport.get_write_buffer_size() == 0
        if reply.is_head:
            # This parser waits for the body that a HEAD reply describes and does not have.
            keeps = keeps and not reply.size
            reply.drop()
            self._parser = httptools.HttpResponseParser(self)
        self._reply = None
        self._due = math.inf
        reply.end()
        if not keeps:
            self.close()
            return
        if self._is_paused:
            self.resume()
        promise = self._framing.get(b"keep-alive")
        self._pool.put(self, _promised_seconds(promise) if promise is not None else None)

    @property
    def _ends_with_connection(self) -> bool:
        return (
            self._reply is not None
            and self._reply.status != 0
            and b"content-length" not in self._framing
            and b"transfer-encoding" not in self._framing
        )

    def _is_farewell_signed(self) -> bool:
        # Under TLS anybody on the way can end the TCP connection; only the upstream can send close_notify.
        # uvloop comes here only for that one, asyncio for both: after it a read gives b"", else it raises.
        tls = cast("asyncio.Transport", self._transport).get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLError:
            return False

    def _cut_short(self, reply: Http1Reply, how: str) -> None:
        self._reply = None
        if reply.status:
            reply.fail(ReplyBroken, f"The connection was closed {how} before the body ended.")
        else:
            reply.fail(NotAnswered, f"The connection was closed {how} before the reply head came.")

    def _break(self, reply: Http1Reply, text: str) -> None:
        self._reply = None
        reply.fail(ReplyBroken, text)
        self.close()

    def _refuse(self, text: str) -> None:
        self._refusal = text
        raise ValueError(text)

    def _look(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        reply = self._reply
        if reply is None:
            return
        now = self.loop.time()
        if now + TIMER_SLACK_SECONDS < self._due:
            self.watch(self._due)
            return
        unsent = cast("asyncio.Transport", self._transport).get_write_buffer_size()
        if not reply.status and 0 < unsent < self._unsent_bytes:
            # A large request still on its way, and moving: the wait for the head has not started.
            self._unsent_bytes = unsent
            reply.watch_head()
            if self._due > now + TIMER_SLACK_SECONDS:
                return
        reply.expire(now)
        if reply.is_over:
            self.close()
        else:
            self.watch(reply.due)


def _promised_seconds(keep_alive: bytes) -> float | None:
    """The timeout in a Keep-Alive header such as `timeout=5, max=100`, or None."""
    for part in keep_alive.split(b","):
        name, _, value = part.strip().partition(b"=")
        if name.lower() == b"timeout" and value.isdigit() and len(value) < 10:
            return int(value)
    return None
