"""Training on this machine: a worker process for each job, so many at once, the others wait their turn.

Nothing is kept in memory that is not in the folder: a gateway that is killed leaves its workers at work, and the
next one finds them. Whoever looks at a job also sees to all of them: there is no task beside.
"""

import asyncio
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from gateway.core.errors import NotFound
from gateway.policy.tuning_file import LocalTrainerEntry
from gateway.tuning.contract import Means, Plan, Progress, Source
from gateway.tuning.worker.attempts import forgive, is_due, next_attempt
from gateway.tuning.worker.folder import RESULTS, Folder, locked
from gateway.tuning.worker.job import ENDED, BaseModel
from gateway.tuning.worker.needs import LIBRARIES, missing_libraries
from gateway.tuning.worker.placing import Placing, Publishes, base_models, on_disk, published
from gateway.tuning.worker.processes import end_process, note_process, running_process, start_worker

CANCEL_SECONDS = 30.0
PROBE_SECONDS = 30


class LocalTrainer:
    """See `contract.Trainer`. root: the folder of jobs; models: what may be trained, by name.

    python: the interpreter that has the extra `train`; None is the gateway's own. at_once: workers side by side.
    cancel_seconds: how long a worker that is to end may take. publishes: makes the adapter of a job that has ended well
    callable where another serves it; the job has succeeded once it is.
    """

    kind: ClassVar[str] = "local"

    def __init__(
        self,
        root: Path,
        models: Mapping[str, BaseModel],
        *,
        at_once: int = 1,
        python: str | None = None,
        cancel_seconds: float = CANCEL_SECONDS,
        publishes: Publishes | None = None,
    ) -> None:
        self._root = root
        self._placing = Placing(root, models)
        self._at_once = at_once
        self._python = python
        self._cancel_seconds = cancel_seconds
        self._publishes = publishes
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._lacks: str | None = None
        self._has_all = False

    def faults(self, plan: Plan) -> list[str]:
        """Why it cannot train this: all reasons, a missing library among them."""
        lacks = self._missing()
        faults = ([lacks] if lacks else []) + self._placing.faults(plan)
        path = self._placing.base_path(plan.model)
        if path is not None and not (Path(path) / "config.json").is_file():
            faults.append(f"The folder of base model {plan.model!r} holds no model: its config.json is not there.")
        return faults

    async def start(self, plan: Plan, training: Source, validation: Source | None) -> str:
        """Writes the job down and starts a worker when one may; the reference is the job's id."""
        with on_disk(self._root):
            await self._placing.place(plan, training, validation)
        await asyncio.to_thread(self._tend)
        return plan.job_id

    async def watch(self, reference: str, since: int) -> Progress:
        """How it stands, after a worker that died was started again from where it was."""
        await asyncio.to_thread(self._tend)
        progress = await asyncio.to_thread(self._progress, reference, since)
        await published(progress, self._publishes)
        return progress

    async def cancel(self, reference: str) -> None:
        """Asks the worker to end, and makes it if it does not hear; one that waits is cancelled at once."""
        folder = self._placing.folder(reference)
        if folder.job() is None or folder.state().status in ENDED:
            return
        with on_disk(self._root):
            folder.ask("cancel")
        pid = running_process(_process_file(folder))
        if pid is not None:
            end_process(pid, signal.SIGTERM)
        await asyncio.to_thread(self._tend)

    async def pause(self, reference: str) -> None:
        """The worker keeps what is done and ends after the step it is at; its place goes to the next."""
        folder = self._placing.folder(reference)
        if folder.job() is not None and folder.state().status not in ENDED and folder.control() != "cancel":
            with on_disk(self._root):
                folder.ask("pause")
            await asyncio.to_thread(self._tend)

    async def resume(self, reference: str) -> None:
        """Goes on as if it had not waited, when a place is free."""
        folder = self._placing.folder(reference)
        if folder.control() == "pause":
            with on_disk(self._root):
                forgive(folder)
                folder.ask("")
            await asyncio.to_thread(self._tend)

    async def result(self, reference: str, name: str) -> bytes:
        """The file of results. Raises NotFound for any other name, and before it is there."""
        folder = self._placing.folder(reference)
        if name != RESULTS or not folder.results.exists():
            raise NotFound(f"Job {reference!r} has no result file {name!r}.")
        return await asyncio.to_thread(folder.results.read_bytes)

    def _progress(self, reference: str, since: int) -> Progress:
        folder = self._placing.folder(reference)
        if folder.job() is None:
            error = ("job_lost", f"The folder of job {reference!r} is gone from {self._root.name!r}.", None)
            return Progress("failed", error=error, finished_at=time.time())
        with on_disk(self._root):
            return folder.progress(since)

    def _tend(self) -> None:
        """Gives every job what it is due. One process at a time does so, others wait for it."""
        if not self._root.exists():
            return
        with on_disk(self._root), locked(self._root / "launch.lock", wait=True):
            for pid, child in list(self._children.items()):
                if child.poll() is not None:  # also takes the dead one off the kernel's list
                    del self._children[pid]
            folders = self._unfinished()
            running = [folder for folder in folders if _runs(folder)]
            free = self._at_once - len(running)
            for folder in folders:
                if folder in running:
                    self._hurry(folder)
                elif is_due(folder) and free > 0:
                    free -= self._launch(folder)

    def _unfinished(self) -> list[Folder]:
        """Oldest first."""
        found = []
        for path in self._root.glob("*/job.json"):
            folder = Folder(path.parent)
            job = folder.job()
            if job is not None and folder.state().status not in ENDED:
                found.append((job.at, job.id, folder))
        return [folder for _, _, folder in sorted(found, key=lambda one: one[:2])]

    def _launch(self, folder: Folder) -> int:
        """How many places it takes."""
        if next_attempt(folder) is None:
            return 0
        child = start_worker(self._python, ["train", "--job", str(folder.path)], folder.log)
        note_process(_process_file(folder), child.pid)
        self._children[child.pid] = child
        return 1

    def _hurry(self, folder: Folder) -> None:
        """A worker that was asked to end and does not is made to."""
        since = folder.asked_at()
        pid = running_process(_process_file(folder))
        if pid is None or since is None or folder.control() != "cancel":
            return
        if time.time() - since > self._cancel_seconds:
            end_process(pid, signal.SIGKILL)

    def _missing(self) -> str | None:
        """Asked until the answer is that nothing is: libraries may be installed meanwhile."""
        if not self._has_all:
            self._lacks = missing_libraries() if self._python is None else _asked_of(self._python)
            self._has_all = self._lacks is None
        return self._lacks


def local_trainer(entry: LocalTrainerEntry, means: Means) -> LocalTrainer:
    """The trainer that an entry of tuning.yaml means."""
    models = base_models(entry.models, means.policies)
    return LocalTrainer(means.folder, models, at_once=entry.at_once, python=entry.python)


TRAINER = local_trainer


def _process_file(folder: Folder) -> Path:
    return folder.path / "worker.json"


def _runs(folder: Folder) -> bool:
    """By the process that was noted, or by the lock: whoever was killed between starting and noting left a worker."""
    return running_process(_process_file(folder)) is not None or folder.is_held()


def _asked_of(python: str) -> str | None:
    """Which libraries another interpreter lacks, as a line for a person."""
    names = ("gateway.tuning.worker", *LIBRARIES)
    code = f"from importlib.util import find_spec; print(*[n for n in {names!r} if find_spec(n.split('.')[0]) is None])"
    try:
        ran = subprocess.run(  # noqa: S603  # the operator's own interpreter, and our own words
            [python, "-c", code], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        return f"The interpreter {python!r} does not run ({type(fault).__name__}); see `python` of the trainer."
    if ran.returncode or ran.stdout.strip():
        lacks = ran.stdout.strip() or ran.stderr.strip().partition("\n")[0][:200]
        return f"Training with {python!r} lacks {lacks}: pip install 'switchyard[train]' there."
    return None
