"""A server under measurement: started on given cores, its CPU time and memory read from /proc, always ended."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.place import ROOT, WORK, tool

TICKS = os.sysconf("SC_CLK_TCK")
# The work that a server does after its last answer (shipping rows, say) is part of what a call costs.
SETTLED_SECONDS = 0.6
SETTLE_LIMIT_SECONDS = 20.0
# Settings of this shell that would change a measured server.
OTHERS = ("GATEWAY_", "OPENAI_", "LITELLM_", "DATABASE_URL", "PROMETHEUS_", "PYTHONDONTWRITEBYTECODE")


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of a gateway or an SDK, and with compiled modules allowed.

    An installed server finds its modules compiled; some shells forbid that with PYTHONDONTWRITEBYTECODE.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OTHERS)}
    # The tree that this bench stands in is what is measured, whatever else is installed.
    return kept | {"PYTHONPYCACHEPREFIX": str(WORK / "pycache"), "PYTHONPATH": str(ROOT)}


class Process:
    """One program and all it starts. `with` ends it, children included, by their ids."""

    def __init__(
        self, command: Sequence[str], cores: Sequence[int], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        pinned = [tool("taskset", "util-linux"), "-c", ",".join(map(str, cores)), *command]
        variables = dict(os.environ if environment is None else environment)
        self.started = time.perf_counter()
        with log.open("ab") as out:
            self._process = subprocess.Popen(pinned, env=variables, stdout=out, stderr=out)  # our own commands
        self.log = log
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def pids(self) -> list[int]:
        """The process and its descendants."""
        return list(_tree(self.pid))

    def cpu_seconds(self) -> float:
        """User and system time of all of them until now, in steps of a clock tick (10 ms)."""
        return sum(_ticks(pid) for pid in self.pids()) / TICKS

    def settle(self, quiet_seconds: float = SETTLED_SECONDS) -> None:
        """Waits until it does next to nothing any more."""
        deadline = time.monotonic() + SETTLE_LIMIT_SECONDS
        before = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(quiet_seconds)
            now = self.cpu_seconds()
            if now - before <= 0.04 * quiet_seconds + 1 / TICKS:
                return
            before = now

    def memory_kb(self) -> tuple[int, int]:
        """VmRSS and PSS of all of them, in kB."""
        found = [_memory(pid) for pid in self.pids()]
        return sum(rss for rss, _ in found), sum(pss for _, pss in found)

    def wait_ready(self, port: int, path: str, seconds: float = 90) -> float:
        """Seconds from its start until `path` answers 200. Raises RuntimeError with its log when it does not."""
        while time.perf_counter() - self.started < seconds:
            if self._process.poll() is not None:
                break
            if _answers(port, path):
                return time.perf_counter() - self.started
            time.sleep(0.01)
        raise RuntimeError(f"{self._process.args!r} is not ready:\n{self.log.read_text(errors='replace')[-2000:]}")

    def wait_listening(self, port: int, seconds: float = 20) -> None:
        """Waits until something takes connections on `port`."""
        while time.perf_counter() - self.started < seconds and self.is_alive:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.01)
        raise RuntimeError(f"{self._process.args!r} does not listen:\n{self.log.read_text(errors='replace')[-2000:]}")

    @property
    def is_alive(self) -> bool:
        """Whether it still runs: somebody else may have ended it."""
        return self._process.poll() is None

    def kill(self) -> None:
        """kill -9 of all of them."""
        for pid in reversed(self.pids()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and after five seconds SIGKILL."""
        if self._process.poll() is not None:
            return
        pids = self.pids()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
        for pid in pids[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _tree(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int(_fields(int(entry.name))[1])
                children.setdefault(parent, []).append(int(entry.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def _fields(pid: int) -> list[str]:
    # The name before the last ")" may hold spaces.
    return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _ticks(pid: int) -> int:
    try:
        fields = _fields(pid)
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _memory(pid: int) -> tuple[int, int]:
    found = {"VmRSS:": 0, "Pss:": 0}
    for name in ("status", "smaps_rollup"):
        with contextlib.suppress(OSError):
            for line in (Path("/proc") / str(pid) / name).read_text().splitlines():
                words = line.split()
                if words and words[0] in found:
                    found[words[0]] = int(words[1])
    return found["VmRSS:"], found["Pss:"]


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
