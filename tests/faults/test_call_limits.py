"""A call's own limits over real sockets: its deadline holds whatever its targets do."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.core.clock import Clock
from gateway.core.decision import Arm, CallLimits
from gateway.core.errors import UpstreamTimeout
from gateway.policy.models_file import UpstreamEntry
from gateway.upstream.ahead import Sent
from gateway.upstream.httpx_transport import HttpxTransport
from gateway.upstream.port import Lease, Transport
from gateway.upstream.prepared import Prepared
from gateway.upstream.send import Sender
from gateway.upstream.transport import Http1Transport
from gateway.upstream.upstreams import Upstreams
from tests.fakes.calls import chat
from tests.fakes.scripted_server import Script, ScriptedServer, scripted
from tests.fakes.scripted_transport import NoteBook, Patient
from tests.fakes.two_targets import ANSWER, OK, answers, drips, hangs, says_500, whole

JSON = OK + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)


@pytest.fixture(params=[Http1Transport, HttpxTransport], ids=["http1", "httpx"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    made: Transport = request.param()
    yield made
    await made.close()


class Table:
    """A sender over real servers, one upstream each, and what was booked."""

    def __init__(self, transport: Transport, servers: Sequence[ScriptedServer]) -> None:
        self.book = NoteBook()
        self.arms = [Arm(path="direct", upstream=f"up-{n}", model=f"m-{n}") for n in range(len(servers))]
        upstreams = Upstreams({"http1": transport}, {}, Clock())
        entries = {
            f"up-{n}": UpstreamEntry(base_url=f"http://127.0.0.1:{server.origin.port}/v1")
            for n, server in enumerate(servers)
        }
        upstreams.replace(upstreams.build(entries))
        self.sender = Sender(upstreams, lambda _upstream, _outcome: None)

    async def send(self, limits: CallLimits) -> Sent:
        async def prepare(arm: Arm) -> Prepared:
            return Prepared(arm=arm, body=b"{}")

        return await self.sender.send(chat(), self.arms, prepare, self.book, Lease(), Patient(), limits)


@pytest.mark.parametrize("faulty", [hangs, drips(b"", JSON), drips(JSON, ANSWER)], ids=["hang", "head", "body"])
async def test_a_first_token_below_the_deadline_gives_the_next_its_turn(transport: Transport, faulty: Script) -> None:
    limits = CallLimits(first_byte_seconds=0.3, first_token_seconds=0.3, deadline_seconds=5)
    async with scripted(faulty) as first, scripted(answers) as second:
        table = Table(transport, (first, second))
        sent = await table.send(limits)
        assert sent.prepared.arm.model == "m-1"
        assert sent.reply is not None
        assert await sent.reply.read() == ANSWER
        assert table.book.told == ["start m-0", "fail 504", "start m-1"]
        await first.until(lambda: first.open == 0, seconds=2)


async def test_the_deadline_ends_a_call_whose_targets_all_hang(transport: Transport) -> None:
    limits = CallLimits(first_byte_seconds=0.3, deadline_seconds=0.5)
    async with scripted(hangs) as first, scripted(hangs) as second, scripted(hangs) as third:
        table = Table(transport, (first, second, third))
        began = time.monotonic()
        with pytest.raises(UpstreamTimeout, match=r"deadline of 0\.5 s"):
            await table.send(limits)
        assert 0.45 < time.monotonic() - began < 2
        assert table.book.told == ["start m-0", "fail 504", "start m-1", "fail 504"]
        assert third.visits == []


async def test_the_deadline_is_over_retries_and_their_pauses(transport: Transport) -> None:
    busy = whole(b"{}", b"503 Service Unavailable", b"Retry-After: 2")

    async def script(visit: object) -> None:
        await visit.write(busy)  # type: ignore[attr-defined]

    async with scripted(script) as only, scripted(says_500) as other:
        table = Table(transport, (only, other))
        async with asyncio.timeout(1.5):
            sent = await table.send(CallLimits(deadline_seconds=1.8, attempts=4))
        assert sent.reply is not None
        assert sent.reply.status == 500
        assert len(only.visits) == 1, "a pause of two seconds would end after the deadline"
        assert len(other.visits) == 2
