"""Keeps the worker that serves adapters running beside a gateway; it ends with whoever started it."""

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from gateway.tuning.worker.processes import end_process, start_worker

LOOK_SECONDS = 0.5
AGAIN_SECONDS = 5.0
END_SECONDS = 10.0

log = logging.getLogger("gateway.tuning")


async def keep_serving(root: Path, models: Mapping[str, str], port: int, *, python: str | None = None) -> None:
    """Serves what lies in `root` on this machine's loopback; ends only by cancellation, and then so does the worker.

    models: paths of base models by name. python: as of `LocalTrainer`. A worker that ends is started again: one that
    cannot have the port, as another gateway's has it, tries until it can. What it writes is in `root/serve.log`.
    """
    await asyncio.to_thread(root.mkdir, parents=True, exist_ok=True)
    named = [part for name, path in models.items() for part in ("--model", f"{name}={path}")]
    # A gateway that is killed ends nobody: the worker looks for itself whether it is still there.
    arguments = ["serve", "--root", str(root), "--port", str(port), "--with-parent", str(os.getpid()), *named]
    while True:
        worker = await asyncio.to_thread(start_worker, python, arguments, root / "serve.log")
        try:
            while worker.poll() is None:  # noqa: ASYNC110  # the end of a process is no event
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            _end(worker)
        log.warning("serving_worker_ended", extra={"fields": {"status": worker.returncode, "log": "serve.log"}})
        await asyncio.sleep(AGAIN_SECONDS)


def _end(worker: "subprocess.Popen[bytes]") -> None:
    """Without an await, so that it also runs in a cancelled task."""
    if worker.poll() is not None:
        return
    end_process(worker.pid, signal.SIGTERM)
    try:
        worker.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        end_process(worker.pid, signal.SIGKILL)
        worker.wait()
