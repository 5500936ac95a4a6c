"""A gateway on a real socket, in a thread of the test's own process, which says when it reads its policies."""

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from gateway.app import Gateway
from gateway.core.settings import read_settings

Result = TypeVar("Result")
READY_SECONDS = 30.0
ANSWER_SECONDS = 30.0


class ServedGateway:
    """The running gateway. url: without `/v1`. It reads its policies when `reload` is called, and never by itself."""

    def __init__(self, gateway: Gateway, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.gateway = gateway
        self.url = url
        self._loop = loop

    def reload(self) -> list[str]:
        """What its watcher does when a file has changed; the faults that kept the last good policy."""
        return self.run(self.gateway.reload())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Has its own loop do something, and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_SECONDS)

    def key(self, team: str) -> str:
        """A key of a new team."""
        return self.run(self._key(team))

    async def _key(self, team: str) -> str:
        await self.gateway.identity.create_team(team, actor="admin")
        key, _ = await self.gateway.identity.create_key(team, "tests", actor="admin")
        await self.gateway.known.load()
        return key


class _Server(uvicorn.Server):
    """Says when it listens, and on which loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.listens = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.listens.set()


@contextlib.contextmanager
def served_gateway(folder: Path, environment: Mapping[str, str]) -> Iterator[ServedGateway]:
    """Serves `folder`/policies; its thread has ended when the block is left. environment: also holds its secrets."""
    settings = read_settings(environment, policies=folder / "policies", data=folder / "data")
    gateway = Gateway(settings, environment, access_log=False)
    config = uvicorn.Config(
        gateway.application(), lifespan="on", http="httptools", log_config=None, access_log=False, ws="none"
    )
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            assert server.listens.wait(READY_SECONDS), "the gateway did not start"
            assert server.loop is not None
            served = ServedGateway(gateway, server.loop, f"http://127.0.0.1:{listener.getsockname()[1]}")
            served.run(_stop_watching(gateway))
            yield served
        finally:
            server.should_exit = True
            thread.join(timeout=READY_SECONDS)
            # The gateway takes all that was made before it for its own; the test's process lives on.
            gc.unfreeze()


async def _stop_watching(gateway: Gateway) -> None:
    for task in gateway._tasks:
        if task.get_name() == "policies":
            task.cancel()
