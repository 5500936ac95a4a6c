"""Brings the fine-tuning of an account at a provider into the registry here, before the provider takes it away.

Files, jobs and results keep the ids that they had, so what apps wrote down keeps answering; events and checkpoints are
numbered anew, in the order of the provider. Each file and each job is one transaction, and one that is here already
is left alone: whatever stops an import, the next one goes on, and a second one adds nothing. Nothing is booked: it was
paid for there.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from gateway.core.errors import UpstreamFailed
from gateway.core.stored_file import StoredFile
from gateway.core.values import Value
from gateway.files.store import FileStore, fresh_file
from gateway.tuning.contract import Happened, Method
from gateway.tuning.datasets.provenance import dataset_hash
from gateway.tuning.jobs.store import Model, TuningJobs
from gateway.tuning.jobs.values import ENDED, JobEvent, State, TuningJob
from gateway.tuning.openai_objects import Event, Fault, Listed, Named, Point, happened, read, saved
from gateway.upstream.asking import Refused, ask, fetch
from gateway.upstream.upstreams import Upstream

JOBS, FILES = "/fine_tuning/jobs", "/files"
PAGE = 100
PURPOSES = ("fine-tune", "fine-tune-results")
# A job that was begun from here carries our id there.
OURS = "switchyard_job"
FROM = "imported_from"
METHODS: dict[str, Method] = {"supervised": "supervised", "dpo": "dpo", "reinforcement": "reinforcement"}
STATES: dict[str, State] = {"succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled"}
MISSING = 404
NOT_GIVEN = frozenset({400, 403, MISSING, 410})


class _Job(msgspec.Struct):
    id: str
    model: str = ""
    created_at: float = 0.0
    finished_at: float | None = None
    status: str = ""
    error: Fault | None = None
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    training_file: str = ""
    validation_file: str | None = None
    result_files: list[str] | None = None
    hyperparameters: dict[str, Any] | None = None
    method: dict[str, Any] | None = None
    seed: int | None = None
    metadata: dict[str, str] | None = None
    integrations: list[Any] | None = None
    user_provided_suffix: str | None = None


class _File(msgspec.Struct):
    id: str
    filename: str = "upload"
    purpose: str = ""
    created_at: float = 0.0


class Imported(Value, frozen=True):
    """What an import came to. left_out: a job or file, and why. missing: files that the provider has no more."""

    jobs: int
    files: int
    events: int
    checkpoints: int
    models: tuple[str, ...]
    here_already: int
    left_out: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    is_dry: bool = False


class Importer:
    """One import. trainer: the name that jobs get as their trainer's. told: of each step, for whoever waits."""

    def __init__(
        self,
        files: FileStore,
        jobs: TuningJobs,
        upstream: Upstream,
        trainer: str,
        told: Callable[[str], None],
        *,
        is_dry: bool = False,
    ) -> None:
        self._files = files
        self._jobs = jobs
        self._upstream = upstream
        self._trainer = trainer
        self._told = told
        self._is_dry = is_dry
        self._counts: Counter[str] = Counter()
        self._models: list[str] = []
        self._left_out: list[tuple[str, str]] = []
        self._missing: list[str] = []
        self._hashes: dict[str, str] = {}

    async def run(self, team: str | None, teams: Collection[str]) -> Imported:
        """Imports all there is. team: whose it becomes; None is what each job's metadata `team` says, one of `teams`.

        Raises UpstreamFailed (502) when the provider cannot be asked: what was imported up to then stays.
        """
        jobs = [job async for job in self._items(JOBS, _Job)]
        for number, job in enumerate(reversed(jobs), 1):
            self._told(f"job {number} of {len(jobs)}: {job.id}")
            await self._job(job, team, teams)
        if team is not None:
            await self._other_files(team)
        return Imported(
            jobs=self._counts["jobs"],
            files=self._counts["files"],
            events=self._counts["events"],
            checkpoints=self._counts["checkpoints"],
            models=tuple(self._models),
            here_already=self._counts["here"],
            left_out=tuple(self._left_out),
            missing=tuple(self._missing),
            is_dry=self._is_dry,
        )

    async def _job(self, job: _Job, asked_team: str | None, teams: Collection[str]) -> None:
        metadata = job.metadata or {}
        team = asked_team or metadata.get("team")
        if OURS in metadata or await self._jobs.find(job.id) is not None:
            self._counts["here"] += 1
            return
        state = STATES.get(job.status)
        if state is None or state not in ENDED:
            self._left_out.append((job.id, f"it is {job.status}; import again when it has ended"))
            return
        if team is None:
            self._left_out.append((job.id, "its metadata names no team; say --team"))
            return
        if team not in teams:
            self._left_out.append((job.id, f"its metadata names {team!r}, which is no team here: create it, or --team"))
            return
        training = await self._file(job.training_file, team)
        validation = await self._file(job.validation_file, team) if job.validation_file else None
        results = [await self._file(identity, team) for identity in job.result_files or ()]
        events = [event async for event in self._items(f"{JOBS}/{quote(job.id, safe='')}/events", Event)][::-1]
        points = [one async for one in self._items(f"{JOBS}/{quote(job.id, safe='')}/checkpoints", Point)][::-1]
        made = self._made(job, team, state, (training, validation, results), len(events))
        models = self._models_of(made, points)
        self._counts.update(jobs=1, events=len(events), checkpoints=len(points))
        self._models += [model.id for model in models]
        if not self._is_dry:
            kept = [_event(job.id, happened(number, event)) for number, event in enumerate(events)]
            await self._jobs.imported(made, kept, [saved(number, one) for number, one in enumerate(points)], models)

    def _made(
        self, job: _Job, team: str, state: State, files: tuple[str, str | None, list[str]], events: int
    ) -> TuningJob:
        training, validation, results = files
        method = METHODS.get(str((job.method or {}).get("type")), "supervised")
        options = (job.method or {}).get(method) or {}
        asked = _plain(options.get("hyperparameters")) or _plain(job.hyperparameters)
        error = job.error if job.error is not None and (job.error.code or job.error.message) else None
        told = None if error is None else (error.code or "training_failed", error.message or "", error.param)
        metadata = {**(job.metadata or {}), FROM: self._upstream.name}
        return TuningJob(
            id=job.id,
            team=team,
            key_id="",
            organisation="",
            trainer=self._trainer,
            serves_at=self._upstream.name,
            model=job.model,
            training_file=training,
            validation_file=validation,
            suffix=job.user_provided_suffix or "",
            seed=job.seed or 0,
            method=method,
            hyperparameters=_text(asked),
            grader=_text(options["grader"]) if options.get("grader") else "",
            integrations=_text(job.integrations or []),
            metadata=_text(metadata),
            created_at=job.created_at,
            state=state,
            reference=job.id,
            seen=events,
            events=events,
            tuned_model=job.fine_tuned_model,
            trained_tokens=job.trained_tokens,
            dataset_hash=self._hashes.get(job.training_file, ""),
            resolved=_text(
                {name: value for name, value in {**asked, **_plain(job.hyperparameters)}.items() if value != "auto"}
            ),
            error=None if told is None else _text(told),
            results=_text(results),
            ended_at=job.finished_at or job.created_at,
            finished_at=job.finished_at,
        )

    def _models_of(self, job: TuningJob, points: list[Point]) -> list[Model]:
        names = [*(one.fine_tuned_model_checkpoint for one in points), job.tuned_model or ""]
        at = job.finished_at or job.created_at
        unique = [name for name in dict.fromkeys(names) if name]
        return [Model(name, job.team, self._upstream.name, job.model, job.id, at) for name in unique]

    async def _other_files(self, team: str) -> None:
        """Files that no job names any more: a team may want to train on them still."""
        for purpose in PURPOSES:
            async for file in self._items(FILES, _File, {"purpose": purpose}):
                if file.purpose == purpose:
                    await self._file(file.id, team)

    async def _file(self, identity: str, team: str) -> str:
        """The id that a file of the provider's has here, whether it is kept by now or cannot be had."""
        known = await self._files.kept_of(self._upstream.name, identity)
        if known is not None:
            await self._remember(identity, known)
            return known.id
        here = f"{FILES}/{quote(identity, safe='')}"
        described = await self._ask(here)
        content = None if described is None or self._is_dry else await self._content(here)
        if described is None or (content is None and not self._is_dry):
            if identity not in self._missing:
                self._missing.append(identity)
            return identity
        self._counts["files"] += 1
        if content is None:
            return identity
        told = read(described, _File)
        file = fresh_file(team, told.filename[-255:], told.purpose or PURPOSES[0], len(content))
        if await self._files.find(identity) is None:
            file = msgspec.structs.replace(file, id=identity)
        file = msgspec.structs.replace(file, created_at=told.created_at or file.created_at)
        self._told(f"file {identity}: {len(content):,} bytes")
        await self._files.put(file, content, (self._upstream.name, identity))
        self._hashes[identity] = await asyncio.to_thread(_hash, content)
        return file.id

    async def _content(self, here: str) -> bytes | None:
        """The bytes of a file that is described there; None when it is not given out."""
        try:
            return b"".join([part async for part in fetch(self._upstream, f"{here}/content")])
        except Refused as refused:
            # Told of and not given out: OpenAI says 400 to some purposes. Anything else may pass, and is no answer.
            if refused.answered not in NOT_GIVEN:
                raise
            return None

    async def _remember(self, identity: str, known: StoredFile) -> None:
        if identity not in self._hashes and known.purpose == PURPOSES[0]:
            self._hashes[identity] = await asyncio.to_thread(_hash, await self._files.content(known))

    async def _items(self, target: str, kind: type[Any], query: dict[str, str] | None = None) -> AsyncIterator[Any]:
        after = None
        while True:
            asked = {"limit": str(PAGE)} | (query or {}) | ({"after": after} if after else {})
            body = await self._ask(f"{target}?{urlencode(asked)}")
            page = Listed() if body is None else read(body, Listed)
            for raw in page.data:
                try:
                    item = read(raw, kind)
                except UpstreamFailed:
                    # One that is odd is told of, and takes nothing with it.
                    self._left_out.append((_name(raw) or "?", "what the provider says of it cannot be read"))
                    continue
                yield item
            last = next((name for raw in reversed(page.data) if (name := _name(raw))), None)
            if not page.has_more or last is None or last == after:
                return
            after = last

    async def _ask(self, target: str) -> bytes | None:
        """The body of a 2xx; None for what does not exist there. Raises UpstreamFailed (502) for anything else."""
        status, answer = await ask(self._upstream, "GET", target)
        if status == MISSING:
            return None
        if status >= 300:
            raise UpstreamFailed(f"Upstream {self._upstream.name!r} answered {status} to GET {target}.")
        return answer


def _name(raw: msgspec.Raw) -> str:
    try:
        named: Named = read(raw, Named)
    except UpstreamFailed:
        return ""
    return named.id


def _hash(content: bytes) -> str:
    try:
        return dataset_hash(msgspec.json.decode(line) for line in content.splitlines() if line.strip())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _event(job_id: str, event: Happened) -> JobEvent:
    return JobEvent(job_id, event.number, event.at, event.level, event.message, event.kind, event.data)


def _plain(written: Any) -> dict[str, float | int | str]:
    pairs = written.items() if isinstance(written, dict) else ()
    return {str(name): value for name, value in pairs if isinstance(value, int | float | str)}


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
