"""Adapters answer where tuning.yaml says: workers of our own beside the gateway, or vLLM, which forgets at a start."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from gateway.core.errors import GatewayError
from gateway.policy.load import Rulebook
from gateway.policy.tuning_file import LocalTrainerEntry
from gateway.training import Training
from gateway.tuning.serving import keep_serving
from gateway.tuning.worker.placing import base_models

LOOK_SECONDS = 0.5
# How soon a replica that was restarted has its adapters again.
REPUBLISH_SECONDS = 30.0

log = logging.getLogger("gateway.tuning")


class AdapterServers:
    """root: the folder of jobs. policies: from where relative paths of base models are meant."""

    def __init__(self, rulebook: Callable[[], Rulebook], training: Training, root: Path, policies: Path) -> None:
        self._rulebook = rulebook
        self._training = training
        self._root = root
        self._policies = policies
        self._serving: dict[str, tuple[LocalTrainerEntry, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Keeps workers as tuning.yaml has them, and vLLM knowing what was trained, for ever."""
        published = 0.0
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._tend()
                if loop.time() - published > REPUBLISH_SECONDS:
                    published = loop.time()
                    await self._publish()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            # A worker ends with its task, which needs no loop for that.
            for _, task in self._serving.values():
                task.cancel()
            await asyncio.gather(*(task for _, task in self._serving.values()), return_exceptions=True)

    async def _tend(self) -> None:
        wanted = {
            name: entry
            for name, entry in self._rulebook().tuning.trainers.items()
            if isinstance(entry, LocalTrainerEntry) and entry.serve is not None
        }
        for name, (entry, task) in list(self._serving.items()):
            if wanted.get(name) != entry or task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                del self._serving[name]
        for name, entry in wanted.items():
            if name not in self._serving and entry.serve is not None:
                models = {model: base.path for model, base in base_models(entry.models, self._policies).items()}
                work = keep_serving(self._root, models, entry.serve, python=entry.python)
                self._serving[name] = (entry, asyncio.create_task(work, name=f"adapters-{name}"))

    async def _publish(self) -> None:
        try:
            await self._training.publish_all()
        except GatewayError as fault:
            log.warning("adapters_not_published", extra={"fields": {"error": fault.message}})
