"""Runs the offline upstream as a server of its own."""

import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from gateway.offline.app import TUNING_SECONDS, make_app

GRACE_SECONDS = 3


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    key: str | None = None,
    bill_path: Path | None = None,
    tuning_seconds: float = TUNING_SECONDS,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM; open streams get three seconds to end.

    port 0 takes a free one. announce: called once, with the base URL (`http://127.0.0.1:9999/v1`), when the
    socket listens. Raises OSError when the address or the bill's file cannot be had.
    """
    app = make_app(key=key, bill_path=bill_path, tuning_seconds=tuning_seconds)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=2_048) as listener:
        config = uvicorn.Config(
            app,
            http="httptools",
            loop="uvloop",
            log_level="warning",
            access_log=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        if announce is not None:
            name = f"[{host}]" if family == socket.AF_INET6 else host
            announce(f"http://{name}:{listener.getsockname()[1]}/v1")
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            return  # uvicorn raises it again after a clean end.
