"""One reply of the HTTP/1.1 transport: what came and was not read, and who waits for more."""

import asyncio
from typing import Protocol

from gateway.core.call import Headers
from gateway.upstream.faults import (
    Aborted,
    BetweenTimedOut,
    FirstByteTimedOut,
    TotalTimedOut,
    TransportError,
)
from gateway.upstream.port import Deadlines, Lease

# Timers of uvloop are rounded to milliseconds and may fire that much early.
TIMER_SLACK_SECONDS = 0.002


class Line(Protocol):
    """What a reply asks of its connection."""

    loop: asyncio.AbstractEventLoop

    def watch(self, due: float) -> None:
        """Has the reply expire at `due`, on the loop's clock."""
        ...

    def resume(self) -> None:
        """Reads on, after a pause for a slow reader."""
        ...

    def close(self) -> None:
        """Closes the socket at once."""
        ...


class Http1Reply:
    """A reply on a connection, which lets go of it at the last byte: see `port.Reply`."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_deadlines",
        "_ended",
        "_failure",
        "_lease",
        "_waiter",
        "due",
        "headers",
        "is_head",
        "sent_at",
        "size",
        "status",
    )

    def __init__(self, connection: Line, lease: Lease, deadlines: Deadlines, started: float, *, is_head: bool) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.is_head = is_head
        self.size = 0  # bytes that came and were not read
        self._chunks: list[bytes] = []
        self._connection: Line | None = connection
        self._deadlines = deadlines
        self.due = started + deadlines.total_seconds  # on the loop's clock
        self.sent_at = connection.loop.time()
        self._ended = False
        self._failure: tuple[type[TransportError], str] | None = None
        self._lease = lease
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_over(self) -> bool:
        """Nothing more will come of it."""
        return self._ended or self._failure is not None

    async def head(self) -> None:
        """Returns once status and headers are there. Raises what `Transport.send` does after connecting."""
        while not self.status:
            if self._failure is not None:
                raise self._fault(self._failure)
            await self._wait(self._deadlines.first_byte_seconds)
        if self._lease.aborted:
            raise self._fault((Aborted, "The call was given up."))

    async def read(self) -> bytes:
        """The next bytes of the body: see `port.Reply.read`."""
        chunks = self._chunks
        while not chunks:
            if self._failure is not None:
                raise self._fault(self._failure)
            if self._ended:
                return b""
            await self._wait(self._deadlines.between_seconds)
        if self._lease.aborted:
            self.abort()
            raise self._fault((Aborted, "The call was given up."))
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.size = 0
        if self._connection is not None:
            self._connection.resume()
        return data

    def abort(self) -> None:
        """Closes the connection unless the body was read to its end. Idempotent."""
        if self._ended and not self._chunks:
            return
        self._chunks.clear()
        self._ended = False
        connection = self._connection
        self.fail(Aborted, "The call was given up.")
        if connection is not None:
            connection.close()

    def take(self, data: bytes) -> None:
        """For the connection: keeps bytes of the body and wakes the reader."""
        if data:
            self._chunks.append(data)
            self.size += len(data)
        self.wake()

    def end(self) -> None:
        """For the connection: the body is whole, and the connection no longer this reply's."""
        self._ended = True
        self._let_go()
        self.wake()

    def fail(self, kind: type[TransportError], text: str) -> None:
        """For the connection: nothing more will come. The first failure stands."""
        if self._failure is None and not self._ended:
            self._failure = (kind, text)
            self._let_go()
            self.wake()

    def wake(self) -> None:
        """For the connection: lets a waiting reader look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def drop(self) -> None:
        """For the connection: forgets bytes that turned out to be no part of the body."""
        self._chunks.clear()
        self.size = 0

    def expire(self, now: float) -> None:
        """For the connection: a watched deadline has passed. Does nothing when its wait is over by now."""
        limits = self._deadlines
        if now + TIMER_SLACK_SECONDS >= self.due:
            self.fail(TotalTimedOut, f"The call was not over after {limits.total_seconds:g} s.")
        elif self._waiter is None or self._waiter.done():
            return
        elif not self.status:
            self.fail(FirstByteTimedOut, f"No reply head within {limits.first_byte_seconds:g} s.")
        else:
            self.fail(BetweenTimedOut, f"No more of the body for {limits.between_seconds:g} s.")

    def watch_head(self) -> None:
        """For the connection: the wait for the reply head starts (again) now."""
        connection = self._connection
        if connection is not None and not self.status:
            self.sent_at = connection.loop.time()
            connection.watch(min(self.sent_at + self._deadlines.first_byte_seconds, self.due))

    async def _wait(self, seconds: float) -> None:
        connection = self._connection
        if connection is None or self._waiter is not None:
            raise RuntimeError("A reply is read by one task at a time.")
        loop = connection.loop
        self._waiter = loop.create_future()
        connection.watch(min(loop.time() + seconds, self.due))
        try:
            await self._waiter
        except BaseException:
            self.abort()
            raise
        finally:
            self._waiter = None
        if self._connection is connection:
            # Nobody waits now: only the total is running.
            connection.watch(self.due)

    def _let_go(self) -> None:
        # Cuts the ring lease, reply, connection: no call is left to the garbage collector.
        if self._connection is not None:
            self._connection = None
            self._lease.hold(None)

    def _fault(self, failure: tuple[type[TransportError], str]) -> TransportError:
        # Built anew for each raise: a kept exception would hold the frames that it passed through.
        return failure[0](failure[1])
