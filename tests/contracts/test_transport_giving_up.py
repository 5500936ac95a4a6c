"""What `port.Transport` promises about giving up and about certificates, on real sockets."""

import asyncio
import random
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.upstream.httpx_transport import HttpxTransport
from gateway.upstream.port import Aborted, ConnectFailed, Lease, Origin, Outgoing, ReplyBroken, Transport
from tests.fakes.caller import CHUNKED, HI, PATIENT, POST, call, settled, whole
from tests.fakes.scripted_server import ScriptedServer, Visit, says, scripted


def _abort(lease: Lease, _task: "asyncio.Task[object]") -> type[BaseException]:
    lease.abort()
    lease.abort()
    return Aborted


def _cancel(_lease: Lease, task: "asyncio.Task[object]") -> type[BaseException]:
    task.cancel()
    return asyncio.CancelledError


End = Callable[[Lease, "asyncio.Task[object]"], type[BaseException]]


@pytest.mark.parametrize("end", [_abort, _cancel], ids=["abort", "cancel"])
class TestGivingUp:
    """In every phase: the wait ends, the upstream sees the connection close, nothing stays behind."""

    async def test_while_connecting(self, transport: Transport, end: End) -> None:
        async with scripted(says(), is_mute=True) as server:
            origin = Origin("https", "127.0.0.1", server.origin.port)
            await self._give_up(transport, server, origin, end, lambda: server.open == 1)

    async def test_while_waiting_for_the_head(self, transport: Transport, end: End) -> None:
        async with scripted(says(then="hang")) as server:
            await self._give_up(transport, server, server.origin, end, lambda: len(server.visits) == 1)

    async def test_on_a_reused_connection(self, transport: Transport, end: End) -> None:
        async def script(visit: Visit) -> None:
            if visit.number == 1:
                await visit.write(HI)
            else:
                await visit.gone()

        async with scripted(script) as server:
            await call(transport, server)
            await self._give_up(transport, server, server.origin, end, lambda: len(server.visits) == 2)

    async def test_while_reading(self, transport: Transport, end: End) -> None:
        async with scripted(says(CHUNKED + b"2\r\nhi\r\n", then="hang")) as server:
            lease = Lease()
            reply = await transport.send(server.origin, POST, PATIENT, lease)
            assert await reply.read() == b"hi"
            task = asyncio.create_task(reply.read())
            await asyncio.sleep(0.05)
            await self._ends(transport, server, task, lease, end)
            with pytest.raises(Aborted):
                await reply.read()

    async def _give_up(
        self,
        transport: Transport,
        server: ScriptedServer,
        origin: Origin,
        end: End,
        is_there: Callable[[], bool],
    ) -> None:
        lease = Lease()
        task = asyncio.create_task(transport.send(origin, POST, PATIENT, lease))
        await server.until(is_there)
        await self._ends(transport, server, task, lease, end)

    async def _ends(
        self,
        transport: Transport,
        server: ScriptedServer,
        task: "asyncio.Task[object]",
        lease: Lease,
        end: End,
    ) -> None:
        expected = end(lease, task)
        async with asyncio.timeout(1):
            with pytest.raises(expected):
                await task
        await server.until(lambda: server.open == 0, seconds=1)
        await settled(lambda: transport.active_count == 0)
        assert transport.idle_count == 0


class TestAbort:
    async def test_before_sending_nothing_is_sent(self, transport: Transport) -> None:
        async with scripted(says(HI)) as server:
            lease = Lease()
            lease.abort()
            with pytest.raises(Aborted) as caught:
                await transport.send(server.origin, POST, PATIENT, lease)
            assert not caught.value.sent
            assert server.accepted == 0

    async def test_between_reads_closes_and_drops_what_was_unread(self, transport: Transport) -> None:
        async with scripted(says(CHUNKED + b"2\r\nhi\r\n", then="hang")) as server:
            reply = await transport.send(server.origin, POST, PATIENT, Lease())
            reply.abort()
            reply.abort()
            with pytest.raises(Aborted):
                await reply.read()
            await server.until(lambda: server.open == 0, seconds=1)

    async def test_wakes_who_waits_for_more(self, transport: Transport) -> None:
        async with scripted(says(CHUNKED + b"2\r\nhi\r\n", then="hang")) as server:
            reply = await transport.send(server.origin, POST, PATIENT, Lease())
            assert await reply.read() == b"hi"
            asyncio.get_running_loop().call_later(0.05, reply.abort)
            async with asyncio.timeout(1):
                with pytest.raises(Aborted):
                    await reply.read()
            await server.until(lambda: server.open == 0, seconds=1)
            await settled(lambda: transport.active_count == 0)

    async def test_after_the_end_leaves_the_connection_to_others(self, transport: Transport) -> None:
        """The lease of a finished call must not reach the call that uses its connection now."""
        async with scripted(says(CHUNKED + b"2\r\nhi\r\n", b"0\r\n\r\n")) as server:
            first = Lease()
            reply = await transport.send(server.origin, POST, PATIENT, first)
            assert await whole(reply) == b"hi"
            await settled(lambda: transport.idle_count == 1)
            second = await transport.send(server.origin, POST, PATIENT, Lease())
            first.abort()
            reply.abort()
            assert await whole(second) == b"hi"
            assert await reply.read() == b""
            assert server.accepted == 1

    async def test_close_ends_what_is_running(self, transport: Transport) -> None:
        async with scripted(says(CHUNKED + b"2\r\nhi\r\n", then="hang")) as server:
            reply = await transport.send(server.origin, POST, PATIENT, Lease())
            assert await reply.read() == b"hi"
            task = asyncio.create_task(reply.read())
            await asyncio.sleep(0.05)
            await transport.close()
            with pytest.raises(Aborted):
                await task
            with pytest.raises(ConnectFailed):
                await transport.send(server.origin, POST, PATIENT, Lease())
            await server.until(lambda: server.open == 0, seconds=1)


async def test_cancel_storm_mixes_nothing_up(transport: Transport) -> None:
    """300 calls, every second one given up at a random moment: the others get their own answers."""
    dice = random.Random(7)

    async def script(visit: Visit) -> None:
        await asyncio.sleep(0.002)
        await visit.write(CHUNKED)
        for _ in range(3):
            await visit.write(b"%x\r\n%b\r\n" % (len(visit.body), visit.body))
            await asyncio.sleep(0.002)
        await visit.write(b"0\r\n\r\n")

    async def one(server: ScriptedServer, number: int) -> None:
        lease = Lease()
        nonce = b"nonce-%d." % number
        give_up = asyncio.get_running_loop().call_later(dice.random() * 0.05, lease.abort)
        if number % 2:
            give_up.cancel()
        try:
            reply = await transport.send(server.origin, Outgoing("POST", b"/", (), nonce), PATIENT, lease)
            body = await whole(reply)
        except Aborted:
            assert number % 2 == 0
        else:
            assert body == nonce * 3

    async with scripted(script) as server:
        for start in range(0, 300, 50):
            await asyncio.gather(*[one(server, number) for number in range(start, start + 50)])
        assert await call(transport, server) == (200, b"{}" * 3)
        await settled(lambda: transport.active_count == 0)
        await server.until(lambda: server.open == transport.idle_count)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl binary to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        f" -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout {key} -out {cert}".split(),
        check=True,
        capture_output=True,
    )
    return key, cert


class TestTls:
    @pytest.fixture
    async def server(self, certificate: tuple[Path, Path]) -> AsyncIterator[ScriptedServer]:
        key, cert = certificate
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        async with scripted(says(HI), tls=context, ca_file=str(cert)) as server:
            yield server

    async def test_known_authority(self, transport: Transport, server: ScriptedServer) -> None:
        assert await call(transport, server) == (200, b"hi")
        assert await call(transport, server) == (200, b"hi")
        assert server.accepted == 1

    async def test_unknown_authority_is_refused(self, transport: Transport, server: ScriptedServer) -> None:
        with pytest.raises(ConnectFailed) as caught:
            await transport.send(Origin("https", "localhost", server.origin.port), POST, PATIENT, Lease())
        assert not caught.value.sent
        assert server.visits == []

    async def test_other_name_is_refused(self, transport: Transport, server: ScriptedServer) -> None:
        origin = Origin("https", "127.0.0.1", server.origin.port, ca_file=server.origin.ca_file)
        with pytest.raises(ConnectFailed):
            await transport.send(origin, POST, PATIENT, Lease())

    async def test_unverified_only_where_asked_and_never_shared(
        self, transport: Transport, server: ScriptedServer
    ) -> None:
        """A connection opened without a check must not serve an origin that asks for one."""
        port = server.origin.port
        reply = await transport.send(Origin("https", "127.0.0.1", port, verify=False), POST, PATIENT, Lease())
        assert await whole(reply) == b"hi"
        with pytest.raises(ConnectFailed):
            await transport.send(Origin("https", "127.0.0.1", port), POST, PATIENT, Lease())

    async def test_body_that_ends_with_a_farewell_is_whole(self, transport: Transport, server: ScriptedServer) -> None:
        server.script = says(b"HTTP/1.1 200 OK\r\n\r\nall of it", then="close")
        assert await call(transport, server) == (200, b"all of it")

    async def test_body_cut_off_without_a_farewell_is_broken(
        self, transport: Transport, server: ScriptedServer
    ) -> None:
        """Under TLS an end that the upstream did not sign may be anybody's."""
        if isinstance(transport, HttpxTransport):
            pytest.skip("httpx2 takes a missing close_notify for the end of the body")

        async def script(visit: Visit) -> None:
            await visit.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of")
            await asyncio.sleep(0.05)
            visit.reset()

        server.script = script
        reply = await transport.send(server.origin, POST, PATIENT, Lease())
        assert await reply.read() == b"half of"
        with pytest.raises(ReplyBroken):
            await reply.read()

    async def test_missing_ca_file_is_a_failed_connection(self, transport: Transport) -> None:
        with pytest.raises(ConnectFailed):
            await transport.send(Origin("https", "localhost", 9, ca_file="/nowhere.pem"), POST, PATIENT, Lease())
