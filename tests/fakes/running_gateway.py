"""The product as a user runs it: `python -m gateway serve` in a process of its own, ended by its id."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import openai
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parents[2]
POLICIES = ROOT / "tests" / "fixtures" / "policies"
ADMIN_KEY = "admin-key-of-the-tests-0123456789"
UPSTREAM_KEY = "sk-upstream-secret-of-the-operator"
READY_SECONDS = 30.0
# What is promised within a second; the other one is for a machine that does other things beside.
A_SECOND = 2.0
END_SECONDS = 15.0

Found = TypeVar("Found")


# Below the ports that the system gives to connections that go out (32768 and up on Linux), so that none of those
# takes one between here and its use. Each process of a parallel run begins elsewhere and gives none twice.
PORTS = range(10_000, 32_000)
_offsets = itertools.count(os.getpid() * 1_361)


def free_port() -> int:
    """A loopback port that nobody uses at the moment."""
    for _ in PORTS:
        port = PORTS[next(_offsets) % len(PORTS)]
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


def until(look: Callable[[], Found | None], seconds: float = 20.0, *, what: str = "") -> Found:
    """The first true value that `look` gives; looked for every few milliseconds. Raises AssertionError."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'it'} did not come about within {seconds} seconds; last seen: {found!r}")
        time.sleep(0.02)


def plain_environment() -> dict[str, str]:
    """The environment without anything that would reach into a gateway or a client.

    Modules may be compiled once: a hundred gateways that each compile them anew are most of a run's time.
    """
    foreign = ("GATEWAY_", "OPENAI_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONPYCACHEPREFIX": str(ROOT / ".pytest_cache" / "pycache")}


class RunningGateway:
    """One gateway on its own port, data folder and copy of the policy files; may be killed and started again."""

    def __init__(self, folder: Path, upstream_url: str, environment: Mapping[str, str], workers: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.policies = folder / "policies"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.url}/v1"
        self.admin_key = ADMIN_KEY
        self.workers = workers
        self.environment = plain_environment() | {
            "GATEWAY_DATA": str(self.data),
            "GATEWAY_POLICIES": str(self.policies),
            "GATEWAY_PORT": str(self.port),
            "GATEWAY_ADMIN_KEY": ADMIN_KEY,
            "UPSTREAM_URL": upstream_url,
            "UPSTREAM_KEY": UPSTREAM_KEY,
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.first_start_seconds = 0.0
        self.http = httpx2.Client(base_url=self.url, timeout=10)
        self._keys: dict[str, str] = {}

    @property
    def scripted_port(self) -> int:
        """The port at which models of the upstream `scripted` are looked for."""
        return int(self.environment["SCRIPTED_URL"].rpartition(":")[2].removesuffix("/v1"))

    # Its life.

    def start(self) -> float:
        """Starts it and waits until it is ready; gives the seconds that took."""
        began = time.monotonic()
        self.launch()
        until(self._is_ready, READY_SECONDS, what="readiness")
        took = time.monotonic() - began
        self.first_start_seconds = self.first_start_seconds or took
        return took

    def launch(self) -> None:
        """Starts it and waits for nothing."""
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "--workers", str(self.workers)],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )

    def _is_ready(self) -> bool:
        assert self.process is not None
        code = self.process.poll()
        assert code is None, f"the gateway ended with {code}:\n{self.log()[-4000:]}"
        try:
            return self.http.get("/readyz", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL, as an out-of-memory killer would."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, sign: int) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(sign)
        code = self.wait()
        self.process = None
        return code

    def wait(self) -> int:
        """Waits for its end; kills it by its id when that does not come. Its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(timeout=END_SECONDS)

    def log(self) -> str:
        """What it has logged so far."""
        path = self.folder / "gateway.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    # Its callers.

    def key(self, team: str = "support", *, fresh: bool = False, **settings: Any) -> str:
        """A working key of a team, which is created when it does not exist. fresh: never one given before."""
        if team in self._keys and not fresh:
            return self._keys[team]
        self.team(team)
        key: str = self.admin("POST", "/admin/keys", {"team": team, "name": "tests", **settings})["key"]
        headers = {"authorization": f"Bearer {key}"}
        until(lambda: self.http.get("/v1/models", headers=headers).status_code == 200, what=f"a key for {team}")
        if not settings:
            self._keys[team] = key
        return key

    def team(self, name: str, **settings: Any) -> None:
        """Creates a team if it is not there."""
        reply = self.http.post("/admin/teams", json={"name": name, **settings}, headers=self._admin_headers())
        assert reply.status_code in {200, 201, 409}, reply.text

    def client(self, team: str = "support", *, key: str | None = None, **settings: Any) -> openai.OpenAI:
        """The official client, which does not retry."""
        given = {"max_retries": 0, "timeout": 15, **settings}
        return openai.OpenAI(base_url=self.base_url, api_key=key or self.key(team), **given)

    def async_client(self, team: str = "support", *, key: str | None = None, **settings: Any) -> openai.AsyncOpenAI:
        """The same, asynchronous."""
        given = {"max_retries": 0, "timeout": 15, **settings}
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=key or self.key(team), **given)

    def post(self, path: str, body: object, team: str = "support", **headers: str) -> httpx2.Response:
        """A raw request: bytes go as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {self.key(team)}", "content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, content=content, headers=sent)

    async def asynchronous(
        self, method: str, path: str, body: bytes = b"", *, key: str, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """A raw request that leaves the test's own loop free to play the upstream."""
        sent = {"authorization": f"Bearer {key}", **(headers or {})}
        async with httpx2.AsyncClient(base_url=self.url, timeout=15) as client:
            return await client.request(method, path, content=body, headers=sent)

    def raw(self, request: bytes) -> bytes:
        """What comes back on a fresh connection until it is closed, or for two seconds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(request)
            parts = []
            with contextlib.suppress(TimeoutError, ConnectionError):
                while data := connection.recv(65536):
                    parts.append(data)
            return b"".join(parts)

    # What stands in its books.

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """An /admin call that must succeed."""
        reply = self.http.request(method, path, json=body, headers=self._admin_headers())
        assert reply.status_code < 300, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json()

    def decision(self, decision_id: str) -> Any:
        """A recorded decision and why it fell so, once it is in the database."""
        path = f"/admin/decisions/{decision_id}"

        def look() -> Any:
            reply = self.http.get(path, headers=self._admin_headers())
            return reply.json() if reply.status_code == 200 else None

        return until(look, what=f"decision {decision_id}")

    def _admin_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.admin_key}"}

    def cli(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command as its operator would."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def rows(self, where: str = "1", *values: object) -> list[dict[str, Any]]:
        """Rows of usage_events, read past the gateway from its SQLite file."""
        with contextlib.closing(sqlite3.connect(self.data / "gateway.db", timeout=10)) as database:
            database.row_factory = sqlite3.Row
            query = f"SELECT * FROM usage_events WHERE {where} ORDER BY at, id"
            return [dict(row) for row in database.execute(query, values)]

    def rows_of(self, team: str, count: int, seconds: float = 20.0) -> list[dict[str, Any]]:
        """A team's rows, once there are that many; more than that is a failure."""
        found = until(
            lambda: rows if len(rows := self.rows("team = ?", team)) >= count else None,
            seconds,
            what=f"{count} rows of {team}",
        )
        assert len(found) == count, found
        return found

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """A scrape: samples by name and labels."""
        text = self.http.get("/metrics").text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def counted(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.metrics().items() if found == name and wanted <= has)


@contextmanager
def running_gateway(
    folder: Path,
    upstream_url: str,
    *,
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    workers: int = 1,
    is_started: bool = True,
) -> Iterator[RunningGateway]:
    """A gateway over the test policies, ready; its process has ended when the block is left.

    files: texts that stand in the policies folder in place of its own, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(POLICIES, folder / "policies")
    for name, text in (files or {}).items():
        (folder / "policies" / name).write_text(text)
    gateway = RunningGateway(folder, upstream_url, environment or {}, workers)
    try:
        if is_started:
            gateway.start()
        yield gateway
    finally:
        gateway.http.close()
        gateway.terminate()


class OfflineProcess:
    """The offline upstream in a process of its own: what it billed outlives everything that a test kills."""

    def __init__(self, base_url: str, bill_path: Path) -> None:
        self.base_url = base_url
        self.url = base_url.removesuffix("/v1")
        self._bill_path = bill_path

    def bill(self) -> list[dict[str, Any]]:
        """Every row of its bill, from the file."""
        return [json.loads(line) for line in self._bill_path.read_text().splitlines()]

    def lay(self, times: int | None = None, model: str | None = None, **fault: Any) -> None:
        """Lays a fault ready for requests to come."""
        body = {"fault": fault, "model": model, "times": times}
        httpx2.post(f"{self.url}/__offline/faults", json=body).raise_for_status()


@contextmanager
def offline_process(folder: Path) -> Iterator[OfflineProcess]:
    """`gateway upstream offline` on a free port; ended by its id."""
    folder.mkdir(parents=True, exist_ok=True)
    bill = folder / "bill.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", "upstream", "offline", "--port", "0", "--bill", str(bill)],
        cwd=ROOT,
        env=plain_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, line
        yield OfflineProcess(line[line.index("http://") :].strip(), bill)
    finally:
        process.terminate()
        try:
            process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=END_SECONDS)
        if process.stdout is not None:
            process.stdout.close()
