"""The border to the network: what a transport takes and gives. Two implementations, one contract suite."""

from collections.abc import Callable
from typing import Protocol

from gateway.core.call import Headers
from gateway.core.values import Value
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

__all__ = [
    "Aborted",
    "BetweenTimedOut",
    "ConnectFailed",
    "ConnectTimedOut",
    "Deadlines",
    "FirstByteTimedOut",
    "Lease",
    "NotAnswered",
    "Origin",
    "Outgoing",
    "Reply",
    "ReplyBroken",
    "TotalTimedOut",
    "Transport",
    "TransportError",
]


class Outgoing(Value, frozen=True):
    """One request.

    target: `/path?query` below the origin's prefix, already percent-encoded. headers: lower-case names, and
    none of host, content-length, connection and transfer-encoding: the transport adds those.
    """

    method: str
    target: bytes
    headers: Headers
    body: bytes


class Deadlines(Value, frozen=True):
    """How long each wait may take.

    connect: name lookup, TCP and TLS together. first_byte: from the request fully sent to the reply head.
    between: one wait for more of the body; time in which nobody reads does not count. total: from `send` to
    the body's last byte. first_token: from the request fully sent to the first that a caller can use, see
    `ahead.read_ahead`, which keeps it: a transport knows no tokens. None is the same as first_byte.
    """

    connect_seconds: float = 5
    first_byte_seconds: float = 120
    between_seconds: float = 60
    total_seconds: float = 600
    first_token_seconds: float | None = None


class Origin(Value, frozen=True, cache_hash=True):
    """Where requests go, and whom to believe there. Connections are shared only between equal origins.

    scheme: `http` or `https`. prefix: put before each target, such as `/v1`; no slash at its end.
    verify: check the certificate. ca_file: PEM file trusted in place of the system's authorities.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    verify: bool = True
    ca_file: str | None = None


class Lease:
    """A caller's hold on one call at a time: `abort` ends it at once, in whatever phase it is.

    Made by the caller, given to `send`, aborted from any synchronous code on the loop's thread. It may serve
    the attempts of one call in turn. Once aborted it stays so: a later `send` with it raises Aborted.
    """

    __slots__ = ("_cut", "aborted")

    def __init__(self) -> None:
        self.aborted = False
        self._cut: Callable[[], object] | None = None

    def abort(self) -> None:
        """Ends the call: its socket is closed, a waiting `send` or `read` raises Aborted. Idempotent."""
        if self.aborted:
            return
        self.aborted = True
        cut, self._cut = self._cut, None
        if cut is not None:
            cut()

    def hold(self, cut: Callable[[], object] | None) -> None:
        """For transports: what `abort` shall call from now on; None when there is nothing left to cut."""
        self._cut = cut

    def check(self) -> None:
        """For transports: raises Aborted when the call was given up before anything was sent."""
        if self.aborted:
            raise Aborted("The call was given up before it was sent.", sent=False)


class Reply(Protocol):
    """A reply whose head has come. header names are in lower case; one task reads it.

    sent_at: when the request was fully sent, on the loop's clock; no later than its head came. Interim replies
    (100, 103) are not seen. The body is not decompressed.
    """

    status: int
    headers: Headers
    sent_at: float

    async def read(self) -> bytes:
        """All bytes of the body that are there and not yet read; b"" at the clean end, and again after it.

        Waits only when nothing is there, and then for the first bytes, not for many. Cancelling the waiting
        task closes the connection. Raises, once the bytes that came before are read: ReplyBroken,
        BetweenTimedOut, TotalTimedOut. Raises Aborted at once after an abort, unread bytes or not.
        """
        ...

    def abort(self) -> None:
        """Closes the connection unless the body was read to its end; who waits in `read` wakes. Idempotent."""
        ...


class Transport(Protocol):
    """Sends requests. Never retries, never follows redirects, never reads the environment."""

    @property
    def active_count(self) -> int:
        """How many connections serve a call now."""
        ...

    @property
    def idle_count(self) -> int:
        """How many connections wait for a next call."""
        ...

    async def send(self, origin: Origin, outgoing: Outgoing, deadlines: Deadlines, lease: Lease) -> Reply:
        """The reply, as soon as its head has come; whatever its status.

        The caller reads the reply to its end or aborts it. Cancelling the waiting task closes the connection.
        Raises ConnectFailed, NotAnswered, FirstByteTimedOut, TotalTimedOut, ReplyBroken, Aborted; and
        ValueError when the request cannot be written without changing what it says (a line break in a header
        value, a header that is the transport's to add).

        A reused connection that the upstream closes before it answers gives NotAnswered with `sent` True:
        whether it had read the request cannot be known, and a second try might be billed twice. Whether to
        try again is the retry policy's decision, not the transport's.
        """
        ...

    async def close(self) -> None:
        """Ends every call with Aborted and closes every connection. A later `send` raises ConnectFailed."""
        ...
