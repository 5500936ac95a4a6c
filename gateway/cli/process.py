"""One serving process: uvicorn around the application, and a drain on SIGTERM."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
import uvloop
from prometheus_client import start_http_server

from gateway.app import Gateway
from gateway.cli.listen import bind, warn_open
from gateway.core.errors import DatabaseAway
from gateway.core.settings import Settings, environment
from gateway.db.schema import fits, upgrade
from gateway.http.log import configure

PARENT_SECONDS = 0.5


class DrainingServer(uvicorn.Server):
    """Says `not ready` on the first signal, before it stops to listen."""

    gateway: Gateway

    def handle_exit(self, sig: int, frame: object) -> None:
        """The first SIGTERM or SIGINT begins the drain; the second ends it."""
        first, self.gateway.ready = self.gateway.ready, False
        delay = self.gateway.settings.drain_delay_seconds
        if first and delay:
            # Balancers need some seconds to see that this process is not ready; calls they still send are served.
            timer = threading.Timer(delay, super().handle_exit, (sig, frame))
            timer.daemon = True
            timer.start()
            return
        super().handle_exit(sig, frame)  # type: ignore[arg-type]  # uvicorn types the frame it never uses

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, which raises the signal again at the end: a clean drain would look like a death."""
        before = {sign: signal.signal(sign, self.handle_exit) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)


def serve_process(found: Settings, *, worker: int, access_log: bool) -> int:
    """Serves until told to stop. Raises BadConfiguration before it listens to anybody."""
    configure(os.environ.get("GATEWAY_LOG_LEVEL", "INFO"))
    warn_open(found)
    if found.workers > 1:
        threading.Thread(target=_follow, args=(os.getppid(),), name="follow", daemon=True).start()
    gateway = Gateway(found, environment(), worker=worker, access_log=access_log)
    listener = bind(found, shared=found.workers > 1)
    if found.metrics_port is not None and worker == 0:
        start_http_server(found.metrics_port, addr=found.host, registry=gateway.exposed())
    config = uvicorn.Config(
        gateway.application(),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(found.drain_seconds),
        timeout_keep_alive=75,
    )
    server = DrainingServer(config)
    server.gateway = gateway
    uvloop.run(_serve(server, listener))
    return 0 if server.started else 1


async def _serve(server: DrainingServer, listener: socket.socket) -> None:
    # Before anything is announced: a database that is away is a setting to mend, not a fault of the server's.
    try:
        await (upgrade if server.gateway.settings.migrates else fits)(server.gateway.database)
    except DatabaseAway:
        # Unless it was there not long ago: then known keys go on working.
        if not server.gateway.known.can_recall():
            raise
    await server.serve(sockets=[listener])


def _follow(supervisor: int) -> None:
    """Drains this worker when its supervisor is gone: nobody would replace it, and nobody could stop it."""
    while os.getppid() == supervisor:
        time.sleep(PARENT_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
