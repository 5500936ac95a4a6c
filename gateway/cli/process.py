"""One serving process: uvicorn around the application, and a drain on SIGTERM."""

import os
import socket

import uvicorn
import uvloop
from prometheus_client import start_http_server

from gateway.app import Gateway
from gateway.cli.listen import bind, warn_open
from gateway.core.settings import Settings, environment
from gateway.http.log import configure


class DrainingServer(uvicorn.Server):
    """Says `not ready` on the first signal, before it stops to listen."""

    gateway: Gateway

    def handle_exit(self, sig: int, frame: object) -> None:
        """The first SIGTERM or SIGINT begins the drain; the second ends it."""
        self.gateway.ready = False
        super().handle_exit(sig, frame)  # type: ignore[arg-type]  # uvicorn types the frame it never uses


def serve_process(found: Settings, *, worker: int, access_log: bool) -> int:
    """Serves until told to stop. Raises BadConfiguration before it listens to anybody."""
    configure(os.environ.get("GATEWAY_LOG_LEVEL", "INFO"))
    warn_open(found)
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
    await server.serve(sockets=[listener])
