"""The serving worker beside a gateway."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2

from gateway.tuning.serving import keep_serving
from gateway.tuning.worker.processes import start_worker
from tests.fakes.running_gateway import ROOT


async def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.05)


async def test_it_serves_as_long_as_the_task_runs_and_no_longer(tiny_model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    task = asyncio.create_task(keep_serving(tmp_path, {"tiny": str(tiny_model)}, port))
    url = f"http://127.0.0.1:{port}/v1/models"

    def listed() -> list[str]:
        with contextlib.suppress(httpx2.HTTPError):
            return [model["id"] for model in httpx2.get(url).json()["data"]]
        return []

    await until(lambda: listed() == ["tiny"])
    task.cancel()
    await asyncio.wait([task])
    assert listed() == []


async def test_a_gateway_that_is_cancelled_leaves_no_worker(tmp_path: Path) -> None:
    odd = tmp_path / "python"
    odd.write_text(f'#!/bin/sh\necho $$ > "{tmp_path}/pid"\nexec sleep 600\n')
    odd.chmod(0o755)
    task = asyncio.create_task(keep_serving(tmp_path, {}, 0, python=str(odd)))
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, 0)
    task.cancel()
    await asyncio.wait([task])
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        raise AssertionError(f"{pid} still runs; python is {sys.executable}")


# Starts a worker as a gateway does, says which it is, and waits to be killed.
PARENT = """
import os, sys, time
from pathlib import Path
from gateway.tuning.worker.processes import start_worker
arguments = ["serve", "--root", sys.argv[1], "--port", "0", "--with-parent", str(os.getpid()), *sys.argv[2:]]
print(start_worker(None, arguments, Path(sys.argv[1]) / "serve.log").pid, flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Ended; one that nobody has waited for yet is."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_a_worker_whose_gateway_is_killed_at_once_serves_nobody(tiny_model: Path, tmp_path: Path) -> None:
    """The gateway dies while the worker still loads, before it could ask who its parent is."""
    command = [sys.executable, "-c", PARENT, str(tmp_path), "--model", f"tiny={tiny_model}"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    try:
        await until(lambda: gone(pid))
        assert (tmp_path / "serve.log").read_text() == ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_a_worker_ends_when_told_to_while_it_loads_and_while_a_model_works(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Neither what is being imported nor an answer that nobody waits for any more keeps a port."""
    log = tmp_path / "serve.log"
    arguments = ["serve", "--root", str(tmp_path), "--model", f"tiny={tiny_model}"]
    for when in ("loading", "answering"):
        log.unlink(missing_ok=True)
        worker = start_worker(None, arguments, log)
        try:
            answering = None
            if when == "answering":
                await until(lambda: "/v1\n" in log.read_text())
                url = log.read_text().split()[-1]
                answering = asyncio.create_task(_asked(url))
                await asyncio.sleep(0.3)
            else:
                await asyncio.sleep(0.2)
            worker.send_signal(signal.SIGTERM)
            # A bound against hanging; an answer of so many tokens takes longer.
            assert worker.wait(timeout=20) in {0, -signal.SIGTERM}
            if answering is not None:
                await answering
        finally:
            worker.kill()
            worker.wait()


async def _asked(url: str) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 900}
    with contextlib.suppress(httpx2.HTTPError):
        async with httpx2.AsyncClient(timeout=30) as client:
            await client.post(f"{url}/chat/completions", json=body)
