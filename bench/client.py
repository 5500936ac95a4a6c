"""A small asyncio client: calls at a fixed rate, or a fixed number of streams at a time."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

from gateway.upstream.faults import TransportError
from gateway.upstream.port import Deadlines, Lease, Origin, Outgoing
from gateway.upstream.transport import Http1Transport

# The gateway's own HTTP connection, which every system is called with alike.
DEADLINES = Deadlines(5, 60, 60, 120)
JSON = ((b"content-type", b"application/json"),)


class Called(NamedTuple):
    """Calls made and their times in seconds, failed ones left out."""

    seconds: list[float]
    failed: int


class Caller:
    """Calls one URL. Made inside an event loop."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        self._origin = Origin(parts.scheme, parts.hostname or "", parts.port or 80)
        self._target = parts.path.encode()
        self._headers = JSON + tuple((name.encode(), value.encode()) for name, value in headers.items())
        self._transport = Http1Transport()

    async def call(self, body: bytes) -> tuple[int, float]:
        """The status (0 for a broken connection) and the seconds until the last byte."""
        started = time.perf_counter()
        try:
            outgoing = Outgoing("POST", self._target, self._headers, body)
            reply = await self._transport.send(self._origin, outgoing, DEADLINES, Lease())
            while await reply.read():
                pass
        except TransportError:
            return 0, time.perf_counter() - started
        return reply.status, time.perf_counter() - started

    async def at_rate(self, bodies: Sequence[bytes], per_second: float, seconds: float) -> Called:
        """Open loop: a call is begun when its time has come, whatever became of those before it.

        A call's time runs from when it is really begun, so the timer's own lateness is not charged.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        tasks = []
        for number in range(round(per_second * seconds)):
            await asyncio.sleep(begun + number / per_second - loop.time())
            tasks.append(loop.create_task(self.call(bodies[number % len(bodies)])))
        return _called(await asyncio.gather(*tasks))

    async def at_once(self, body: bytes, streams: int, each: int) -> Called:
        """`streams` at a time, each `each` times one after the other."""

        async def one(number: int) -> list[tuple[int, float]]:
            # Spread over the first events, so that they do not come in step.
            await asyncio.sleep(number * 0.01 / streams)
            return [await self.call(body) for _ in range(each)]

        found = await asyncio.gather(*(one(number) for number in range(streams)))
        return _called([call for calls in found for call in calls])

    async def close(self) -> None:
        """Closes its connections."""
        await self._transport.close()


def _called(found: Sequence[tuple[int, float]]) -> Called:
    good = [seconds for status, seconds in found if status == 200]
    return Called(good, len(found) - len(good))


def rate(url: str, headers: Mapping[str, str], bodies: Sequence[bytes], per_second: float, seconds: float) -> Called:
    """`Caller.at_rate` on a loop of its own, after a few calls to open connections."""

    async def go() -> Called:
        caller = Caller(url, headers)
        for _ in range(3):
            await caller.call(bodies[0])
        try:
            return await caller.at_rate(bodies, per_second, seconds)
        finally:
            await caller.close()

    return uvloop.run(go())


def streams(url: str, headers: Mapping[str, str], body: bytes, count: int, each: int) -> Called:
    """`Caller.at_once` on a loop of its own."""

    async def go() -> Called:
        caller = Caller(url, headers)
        try:
            return await caller.at_once(body, count, each)
        finally:
            await caller.close()

    return uvloop.run(go())


def share(values: Sequence[float], part: float) -> float:
    """The value that `part` of them (0 to 1) do not pass."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")
