"""A real Prometheus that scrapes a text, for as long as a test needs it."""

import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

BINARY = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
READY_SECONDS = 30.0
SCRAPES = 4


class Prometheus:
    """A running server. url: of its web interface."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: str) -> Any:
        """The `data` of an answer of its API. Raises AssertionError with its error text."""
        reply = httpx2.get(f"{self.url}/api/v1/{path}", params=query, timeout=10).json()
        assert reply["status"] == "success", f"{query}: {reply.get('error')}"
        return reply["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that a PromQL expression gives now."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found


@contextmanager
def prometheus_over(
    exposition: Callable[[int], bytes], folder: Path, rules: Path | None = None
) -> Iterator[Prometheus]:
    """Prometheus after at least four scrapes, one a second, of the text that `exposition(number)` gives.

    Its job `switchyard` has a second target that is down. rules: a file that it evaluates each second.
    Raises TimeoutError when it does not get there within 30 seconds.
    """
    assert BINARY is not None, "ask BINARY first"
    with _metrics_server(exposition) as port, _closed_port() as down:
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [
                {
                    "job_name": "switchyard",
                    "static_configs": [{"targets": [f"127.0.0.1:{port}", f"127.0.0.1:{down}"]}],
                }
            ],
        }
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps(config))
        with _process(folder) as prometheus:
            yield prometheus


@contextmanager
def _process(folder: Path) -> Iterator[Prometheus]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(BINARY),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        _wait(prometheus, process, log)
        yield prometheus
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def _wait(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"prometheus ended:\n{log.read_text()}")
        try:
            seen = prometheus.query('count_over_time(up{job="switchyard"}[1m])')
        except (httpx2.TransportError, ValueError):
            seen = []
        if len(seen) == 2 and all(float(series["value"][1]) >= SCRAPES for series in seen):
            return
        time.sleep(0.1)
    raise TimeoutError(f"prometheus had not scraped {SCRAPES} times after {READY_SECONDS} seconds")


@contextmanager
def _metrics_server(exposition: Callable[[int], bytes]) -> Iterator[int]:
    scrapes = iter(range(1, 1_000_000))

    class Metrics(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition(next(scrapes))
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing: a test's output is for what fails."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@contextmanager
def _closed_port() -> Iterator[int]:
    """A port that refuses connections and that nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
