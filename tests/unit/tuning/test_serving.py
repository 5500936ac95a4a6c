"""The serving worker beside a gateway."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2

from gateway.tuning.serving import keep_serving


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
