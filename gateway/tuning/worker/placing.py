"""Puts a job into its folder, for a worker on this machine or on any that sees the same folder."""

import contextlib
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from gateway.core.errors import UpstreamFailed
from gateway.policy.tuning_file import BaseModelEntry
from gateway.tuning.contract import Plan, Progress, Source, TrainerRefused
from gateway.tuning.worker.folder import Folder, read_published
from gateway.tuning.worker.hyperparameters import hyperparameter_faults
from gateway.tuning.worker.job import BaseModel, Job, tuned_name

# Makes a tuned model callable, by its name; see `publishing.publish`. Twice is once.
Publishes = Callable[[str], Awaitable[None]]
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Placing:
    """The folder of jobs, and the base models that may be trained: by the name that callers use."""

    def __init__(self, root: Path, models: Mapping[str, BaseModel]) -> None:
        self.root = root
        self._models = models

    def faults(self, plan: Plan) -> list[str]:
        """Why a worker cannot train this, as far as the plan and the folder tell."""
        if plan.method == "reinforcement":
            return ["Training by reinforcement is not possible here; supervised and dpo are."]
        faults = hyperparameter_faults(plan.hyperparameters, plan.method)
        if plan.integrations not in {"", "[]", "null"}:
            faults.append("Integrations are not served here; metrics are events of the job.")
        if self._base(plan.model) is None:
            known = ", ".join(sorted(self._models)) or "none"
            faults.append(f"Model {plan.model!r} cannot be trained here; base models here: {known}.")
        return faults

    def folder(self, job_id: str) -> Folder:
        """The folder of a job, there or not. Raises TrainerRefused for an id that is no name of a folder."""
        if not _ID.fullmatch(job_id):
            raise TrainerRefused(f"{job_id!r} is no id of a job.")
        return Folder(self.root / job_id)

    async def place(self, plan: Plan, training: Source, validation: Source | None) -> Folder:
        """Writes the job down; once it is, the same again changes nothing. Raises TrainerRefused for its faults."""
        folder = self.folder(plan.job_id)
        if folder.job() is not None:
            return folder
        found = self._base(plan.model)
        if faults := self.faults(plan):
            raise TrainerRefused(" ".join(faults))
        if found is None or plan.method == "reinforcement":
            raise TrainerRefused(f"Model {plan.model!r} cannot be trained here.")
        name, adapter = found
        folder.path.mkdir(parents=True, exist_ok=True)
        await _copy(training, folder.training)
        if validation is not None:
            await _copy(validation, folder.validation)
        job = Job(
            id=plan.job_id,
            name=tuned_name(plan, name),
            model=name,
            base=self._models[name],
            method=plan.method,
            seed=plan.seed,
            at=time.time(),
            hyperparameters=plan.hyperparameters,
            adapter=adapter,
        )
        folder.write_job(job)
        return folder

    def base_path(self, model: str) -> str | None:
        """Where the base of a model lies; None for one that is not known here."""
        found = self._base(model)
        return None if found is None else self._models[found[0]].path

    def _base(self, model: str) -> tuple[str, str | None] | None:
        """The base model's name, and the adapter that is gone on from; None for a model that is neither."""
        if model in self._models:
            return model, None
        tuned = read_published(self.root).get(model)
        if tuned is None or tuned.model not in self._models:
            return None
        return tuned.model, tuned.path


async def published(progress: Progress, publishes: Publishes | None) -> None:
    """Has a finished model published, where somebody is to be told. Raises UpstreamFailed while it is not."""
    if publishes is not None and progress.status == "succeeded" and progress.tuned_model is not None:
        await publishes(progress.tuned_model)


def base_models(entries: Mapping[str, BaseModelEntry], policies: Path) -> dict[str, BaseModel]:
    """The base models of tuning.yaml; a relative path is meant from the policies folder."""
    found = {}
    for name, entry in entries.items():
        written = entry.model_dump(exclude_none=True) | {"path": str((policies / entry.path).resolve())}
        found[name] = msgspec.convert(written, BaseModel)
    return found


@contextlib.contextmanager
def on_disk(root: Path) -> Iterator[None]:
    """A full disk or a folder that is away is trouble of ours that passes: UpstreamFailed, and asked again later."""
    try:
        yield
    except OSError as fault:
        raise UpstreamFailed(f"The folder of jobs {root.name!r} cannot be used ({fault.strerror or fault}).") from None


async def _copy(source: Source, path: Path) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        async for part in source.read():
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
