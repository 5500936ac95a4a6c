"""Workers that serve what `local` trainers made, one for each trainer that names a port: started, kept up, ended."""

import asyncio
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

from gateway.policy.load import Rulebook
from gateway.policy.tuning_file import LocalTrainerEntry
from gateway.tuning.worker.placing import base_models
from gateway.tuning.worker.processes import start_worker

LOOK_SECONDS = 0.5
# One that ends at once, for want of a library or of its port, is not to be started all the time.
AGAIN_SECONDS = 10.0
END_SECONDS = 5.0

log = logging.getLogger("gateway.tuning")


class AdapterServers:
    """root: the folder of jobs. policies: from where relative paths of base models are meant."""

    def __init__(self, rulebook: Callable[[], Rulebook], root: Path, policies: Path) -> None:
        self._rulebook = rulebook
        self._root = root
        self._policies = policies
        self._running: dict[str, tuple[LocalTrainerEntry, subprocess.Popen[bytes]]] = {}
        self._wait_until: dict[str, float] = {}

    async def run(self) -> None:
        """Keeps them up as tuning.yaml has them, for ever."""
        while True:
            await asyncio.to_thread(self._tend, asyncio.get_running_loop().time())
            await asyncio.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Ends them all."""
        for name in list(self._running):
            self._end(name)

    def _tend(self, now: float) -> None:
        entries = self._rulebook().tuning.trainers
        wanted = {
            name: entry
            for name, entry in entries.items()
            if isinstance(entry, LocalTrainerEntry) and entry.serve is not None
        }
        for name, (entry, process) in list(self._running.items()):
            if wanted.get(name) != entry:
                self._end(name)
            elif process.poll() is not None:
                log.error("adapter_server_ended", extra={"fields": {"trainer": name, "status": process.returncode}})
                del self._running[name]
                self._wait_until[name] = now + AGAIN_SECONDS
        for name, entry in wanted.items():
            if name not in self._running and now >= self._wait_until.get(name, 0.0):
                self._running[name] = (entry, self._started(name, entry))

    def _started(self, name: str, entry: LocalTrainerEntry) -> "subprocess.Popen[bytes]":
        self._root.mkdir(parents=True, exist_ok=True)
        models = [
            argument
            for model, base in base_models(entry.models, self._policies).items()
            for argument in ("--model", f"{model}={base.path}")
        ]
        arguments = ["serve", "--root", str(self._root), "--port", str(entry.serve), "--with-parent", *models]
        return start_worker(entry.python, arguments, self._root / f"serve-{name}.log")

    def _end(self, name: str) -> None:
        _, process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
