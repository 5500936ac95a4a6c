"""Which connections wait for a next call. No queue: a clean idle connection, or the caller opens one."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gateway.upstream.port import Origin


class Poolable(Protocol):
    """What the pool asks of a connection."""

    origin: Origin
    idle_until: float

    @property
    def is_clean(self) -> bool:
        """It is open, and no byte has come since its last reply."""
        ...

    def close(self) -> None:
        """Closes the socket now, and has the pool forget it."""
        ...


C = TypeVar("C", bound=Poolable)


class Pool(Generic[C]):
    """All open connections of a transport. The newest idle one goes first, so that the others can age out.

    max_idle: per origin. max_age_seconds: how long a connection may wait for a next call.
    """

    def __init__(
        self,
        *,
        max_idle: int = 256,
        max_age_seconds: float = 30,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_idle = max_idle
        self._max_age_seconds = max_age_seconds
        self._now = now
        self._open: set[C] = set()
        self._idle: dict[Origin, list[C]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def idle_count(self) -> int:
        """How many connections wait for a next call."""
        return sum(map(len, self._idle.values()))

    @property
    def active_count(self) -> int:
        """How many connections serve a call, or were just opened for one."""
        return len(self._open) - self.idle_count

    def add(self, connection: C) -> None:
        """Takes note of a new connection; it is active until it is put."""
        self._open.add(connection)

    def take(self, origin: Origin) -> C | None:
        """A clean idle connection, the newest first, now active; or None."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_clean and self._now() < connection.idle_until:
                return connection
            connection.close()
        return None

    def put(self, connection: C, keep_seconds: float | None = None) -> None:
        """Makes an active connection idle, for as long as both sides keep one.

        keep_seconds: what the upstream's Keep-Alive header promised. One second is taken off, for a request
        that is on its way when the upstream closes. A connection past `max_idle` is closed.
        """
        idle = self._idle.get(connection.origin)
        if idle is None:
            idle = self._idle[connection.origin] = []
        age = self._max_age_seconds if keep_seconds is None else min(self._max_age_seconds, keep_seconds - 1)
        if age <= 0 or len(idle) >= self._max_idle:
            connection.close()
            return
        connection.idle_until = self._now() + age
        idle.append(connection)
        if self._sweeper is None:
            self._arm()

    def forget(self, connection: C) -> None:
        """Drops a closed connection from the books. Idempotent."""
        self._open.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle and connection in idle:
            idle.remove(connection)

    def sweep(self) -> None:
        """Closes what waited too long. Runs by itself while anything waits."""
        now = self._now()
        for origin, idle in list(self._idle.items()):
            for connection in [each for each in idle if now >= each.idle_until]:
                connection.close()
            if not idle:
                del self._idle[origin]
        self._sweeper = None
        if self._idle:
            self._arm()

    def close(self) -> None:
        """Closes every connection, active ones too."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._open):
            connection.close()
        self._idle.clear()

    def _arm(self) -> None:
        # One timer for all: `take` looks at the age anyway, so a sweep may come late by this much.
        self._sweeper = asyncio.get_running_loop().call_later(max(self._max_age_seconds / 2, 0.05), self.sweep)
