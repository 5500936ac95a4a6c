"""Training on a Ray cluster: the same worker, submitted through Ray's job API, over a folder that all machines see.

The cluster only runs the worker; how a job stands is read from its folder, as of a local one. Ray says whether
somebody is at it: its ids of submissions are the job's own, so asking twice starts nothing twice.
"""

import asyncio
import shlex
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar, Protocol

import msgspec

from gateway.core.errors import NotFound, UpstreamFailed
from gateway.core.settings import secret
from gateway.core.values import Value
from gateway.policy.tuning_file import RayTrainerEntry
from gateway.tuning.contract import Means, Plan, Progress, Source
from gateway.tuning.worker.attempts import forgive, is_due, last_attempt, next_attempt
from gateway.tuning.worker.folder import RESULTS, Folder
from gateway.tuning.worker.job import ENDED, BaseModel
from gateway.tuning.worker.placing import Placing, base_models, on_disk

_AT_IT = frozenset({"PENDING", "RUNNING"})


class Asks(Protocol):
    """What is needed of an HTTP client; `upstream.fetch.Fetcher` fits."""

    async def get(self, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body. Raises UpstreamFailed, UpstreamTimeout."""
        ...

    async def send_json(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body. Raises UpstreamFailed, UpstreamTimeout."""
        ...


class Cluster(Value, frozen=True):
    """Where jobs run. address: of Ray's dashboard, without a path. seen_as: the folder of jobs as the cluster sees it.

    python: the interpreter there with `switchyard[train]`. gpus, cpus: what a worker is given. token: sent as bearer.
    """

    address: str
    seen_as: str | None = None
    python: str = "python"
    gpus: float = 0
    cpus: float = 1
    token: str | None = None


class _Submission(Value, frozen=True):
    status: str
    message: str | None = None


class RayTrainer:
    """See `contract.Trainer`. root: the folder of jobs as the gateway sees it; models: by name, paths there."""

    kind: ClassVar[str] = "ray"

    def __init__(
        self,
        cluster: Cluster,
        root: Path,
        models: Mapping[str, BaseModel],
        asks: Asks,
    ) -> None:
        self._cluster = cluster
        self._root = root
        self._placing = Placing(root, models)
        self._asks = asks
        self._url = f"{cluster.address.rstrip('/')}/api/jobs/"
        self._headers = {"authorization": f"Bearer {cluster.token}"} if cluster.token else {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def faults(self, plan: Plan) -> list[str]:
        """Why it cannot train this. What the cluster's interpreter lacks shows when a worker starts there."""
        return self._placing.faults(plan)

    async def start(self, plan: Plan, training: Source, validation: Source | None) -> str:
        """Writes the job down and submits it; the reference is the job's id."""
        with on_disk(self._root):
            folder = await self._placing.place(plan, training, validation)
        await self._tend(folder)
        return plan.job_id

    async def watch(self, reference: str, since: int) -> Progress:
        """How it stands, after a worker that died was submitted again from where it was."""
        folder = self._placing.folder(reference)
        if folder.job() is None:
            error = ("job_lost", f"The folder of job {reference!r} is gone from {self._root.name!r}.", None)
            return Progress("failed", error=error, finished_at=time.time())
        with on_disk(self._root):
            await self._tend(folder)
            return await asyncio.to_thread(folder.progress, since)

    async def cancel(self, reference: str) -> None:
        """Asks the worker to end, and Ray to see to it."""
        folder = self._placing.folder(reference)
        if folder.job() is None or folder.state().status in ENDED:
            return
        folder.ask("cancel")
        attempt = last_attempt(folder)
        if attempt is not None:
            submission = _submission_id(reference, attempt.number)
            status, body = await self._asks.send_json("POST", f"{self._url}{submission}/stop", self._headers, b"{}")
            if status not in {200, 404}:
                raise _refused(status, body)
        await self._tend(folder)

    async def pause(self, reference: str) -> None:
        """The worker keeps what is done and ends after the step it is at; the cluster's machine is free then."""
        folder = self._placing.folder(reference)
        if folder.job() is not None and folder.state().status not in ENDED and folder.control() != "cancel":
            folder.ask("pause")
            await self._tend(folder)

    async def resume(self, reference: str) -> None:
        """Submits it again, to go on as if it had not waited."""
        folder = self._placing.folder(reference)
        if folder.control() == "pause":
            forgive(folder)
            folder.ask("")
            await self._tend(folder)

    async def result(self, reference: str, name: str) -> bytes:
        """The file of results. Raises NotFound for any other name, and before it is there."""
        folder = self._placing.folder(reference)
        if name != RESULTS or not folder.results.exists():
            raise NotFound(f"Job {reference!r} has no result file {name!r}.")
        return await asyncio.to_thread(folder.results.read_bytes)

    async def _tend(self, folder: Folder) -> None:
        """Submits what nobody is at. The attempt is written down before it is made: a crash makes it once more."""
        async with self._turns[folder.path.name]:
            if folder.state().status in ENDED:
                self._turns.pop(folder.path.name, None)
                return
            attempt = last_attempt(folder)
            if attempt is not None:
                status = await self._status(_submission_id(folder.path.name, attempt.number))
                # It may have ended between the two looks; and one that Ray has never heard of was not yet submitted.
                if status in _AT_IT or folder.state().status in ENDED:
                    return
                if status is None and is_due(folder):
                    await self._submit(folder, attempt.number)
                    return
            if is_due(folder):
                attempt = next_attempt(folder)
                if attempt is not None:
                    await self._submit(folder, attempt.number)

    async def _status(self, submission: str) -> str | None:
        status, body = await self._asks.get(f"{self._url}{submission}", self._headers)
        if status == 404:
            return None
        if status != 200:
            raise _refused(status, body)
        try:
            return msgspec.json.decode(body, type=_Submission).status
        except msgspec.DecodeError:
            raise UpstreamFailed("Ray's answer cannot be read.") from None

    async def _submit(self, folder: Folder, number: int) -> None:
        name = folder.path.name
        place = str(PurePosixPath(self._cluster.seen_as) / name) if self._cluster.seen_as else str(folder.path)
        command = [self._cluster.python, "-m", "gateway.tuning.worker", "train", "--job", place]
        request = {
            "entrypoint": shlex.join(command),
            "submission_id": _submission_id(name, number),
            "entrypoint_num_cpus": self._cluster.cpus,
            "entrypoint_num_gpus": self._cluster.gpus,
            "runtime_env": {"env_vars": {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}},
            "metadata": {"switchyard_job": name},
        }
        status, body = await self._asks.send_json("POST", self._url, self._headers, msgspec.json.encode(request))
        # Ray answers a second submission with a 500 that says so; another gateway was faster, or a reply was lost.
        if status != 200 and b"already exists" not in body:
            raise _refused(status, body)


def ray_trainer(entry: RayTrainerEntry, means: Means) -> RayTrainer:
    """The trainer that an entry of tuning.yaml means."""
    token = secret(entry.token, means.environment)
    cluster = Cluster(entry.address, entry.seen_as, entry.python, entry.gpus, entry.cpus, token)
    return RayTrainer(cluster, Path(entry.folder), base_models(entry.models, means.policies), means.asks)


TRAINER = ray_trainer


def _submission_id(job_id: str, number: int) -> str:
    """Of the first attempt the job's own id; Ray takes an id once."""
    return job_id if number == 1 else f"{job_id}-{number}"


def _refused(status: int, body: bytes) -> UpstreamFailed:
    last = body.decode(errors="replace").strip().splitlines()[-1:]
    return UpstreamFailed(f"Ray answered {status}: {''.join(last)[:300]}")
