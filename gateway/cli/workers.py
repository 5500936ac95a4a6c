"""Several serving processes on one port: started, watched, drained together."""

import os
import signal
import subprocess
import sys
import time
from types import FrameType

from gateway.cli.listen import MULTIPROCESS, WORKER, bind, forget_gauges, fresh_folder
from gateway.core.settings import Settings

# A worker that dies at once, time after time, has a fault that no restart heals.
LEAST_LIFE_SECONDS = 2.0
PAUSE_SECONDS = 1.0


def supervise(found: Settings, *, access_log: bool) -> int:
    """Runs the workers until SIGTERM; one that dies is started again. 0 after a drain."""
    holder = bind(found, shared=True)
    port = holder.getsockname()[1]
    variables = dict(os.environ) | {
        MULTIPROCESS: str(fresh_folder(found.data / "metrics")),
        "GATEWAY_HOST": found.host,
        "GATEWAY_PORT": str(port),
        "GATEWAY_WORKERS": str(found.workers),
        "GATEWAY_DATA": str(found.data),
        "GATEWAY_POLICIES": str(found.policies),
    }
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for process, _ in running.values():
            process.terminate()

    running: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    # Bound so that the port is ours, never listening: the kernel would give it a share of the callers.
    for number in range(found.workers):
        running[number] = (_start(number, variables, access_log=access_log), time.monotonic())
    while running:
        time.sleep(0.1)
        for number, (process, started) in list(running.items()):
            if process.poll() is None:
                continue
            del running[number]
            forget_gauges(found.data / "metrics", process.pid)
            if stopping or process.returncode == 78:
                continue
            if time.monotonic() - started < LEAST_LIFE_SECONDS:
                time.sleep(PAUSE_SECONDS)
            running[number] = (_start(number, variables, access_log=access_log), time.monotonic())
    holder.close()
    return 0 if stopping else 78


def _start(number: int, variables: dict[str, str], *, access_log: bool) -> subprocess.Popen[bytes]:
    arguments = [] if access_log else ["--no-access-log"]
    command = [sys.executable, "-m", "gateway", "serve", *arguments]
    return subprocess.Popen(command, env=variables | {WORKER: str(number)})  # noqa: S603  # our own command
