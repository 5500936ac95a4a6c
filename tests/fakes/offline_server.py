"""The offline upstream on a real socket, in a thread of the test's own process, ended by the test."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from gateway.offline.app import OfflineUpstream, make_app


class OfflineServer:
    """A running offline upstream. url: without `/v1`."""

    def __init__(self, app: OfflineUpstream, port: int) -> None:
        self.app = app
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.url}/v1"

    def bill(self, rows: int = 0) -> dict[str, Any]:
        """The bill; waits up to five seconds until it has that many rows."""
        deadline = time.monotonic() + 5
        while True:
            found: dict[str, Any] = httpx2.get(f"{self.url}/__offline/bill").json()
            if found["count"] >= rows or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    def lay(self, times: int | None = None, model: str | None = None, path: str | None = None, **fault: Any) -> None:
        """Lays a fault ready for requests to come."""
        body = {"fault": fault, "model": model, "path": path, "times": times}
        httpx2.post(f"{self.url}/__offline/faults", json=body).raise_for_status()

    def faults(self) -> list[Any]:
        """The faults that no request has met yet."""
        found: list[Any] = httpx2.get(f"{self.url}/__offline/faults").json()["faults"]
        return found

    def reset(self) -> None:
        """Forgets its faults and its bill."""
        httpx2.post(f"{self.url}/__offline/reset").raise_for_status()


@contextmanager
def offline_server(
    *, key: str | None = None, bill_path: Path | None = None, tuning_seconds: float = 0.4
) -> Iterator[OfflineServer]:
    """A fresh server on a free port; its thread has ended when the block is left."""
    app = make_app(key=key, bill_path=bill_path, tuning_seconds=tuning_seconds)
    config = uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                if time.monotonic() > deadline:
                    raise TimeoutError("the offline upstream did not start within ten seconds")
                time.sleep(0.005)
            yield OfflineServer(app, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(timeout=10)
