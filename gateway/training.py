"""Fine-tuning in one process: trainers as the policy names them, files, money and messages around the jobs' engine."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.core.call import Principal
from gateway.core.discovery import members
from gateway.core.errors import InvalidRequest, NotFound, UpstreamFailed, UpstreamTimeout
from gateway.core.stored_file import StoredFile
from gateway.files.copies import Copies, CopyRefused
from gateway.files.store import FileStore
from gateway.ledger.entry import Ledger
from gateway.ledger.jobs.booking import book_job
from gateway.ledger.jobs.reading import Told, training_event, training_rates
from gateway.ledger.jobs.store import Job
from gateway.ledger.leases.meters import Meter
from gateway.ledger.webhooks.store import WebhookStore
from gateway.policy.load import Rulebook
from gateway.policy.tuning_file import ANYBODY, HostedTrainerEntry, LocalTrainerEntry, TrainerEntry
from gateway.pricing.rates import training_cost
from gateway.tuning import trainers
from gateway.tuning.contract import Progress, Source, Trainer, TrainerRefused, TrainingFile
from gateway.tuning.jobs.engine import Booked, Checked
from gateway.tuning.jobs.store import Inside, Model
from gateway.tuning.jobs.values import TuningJob
from gateway.tuning.publishing import Asks, publish, withdraw
from gateway.tuning.worker.folder import read_published, unpublish
from gateway.upstream.asking import ask
from gateway.upstream.upstreams import Upstream, Upstreams

# The trainer that is there without any in tuning.yaml: the upstream where unnamed calls go.
USUAL = "upstream"
TOLD = {"succeeded", "failed", "cancelled"}
RESULTS = "fine-tune-results"

Check = Callable[[TuningJob, TrainerEntry | None, Source, Source | None], Awaitable[Checked]]
Changed = Callable[[], Awaitable[None]]
Make = Callable[[Any, "Training"], Trainer]
KINDS: dict[str, Make] = {name: make for name, make in members(trainers, "TRAINER").items() if callable(make)}


def trainers_of(rulebook: Rulebook) -> Mapping[str, TrainerEntry]:
    """The trainers of tuning.yaml by name; without any the one that is always there."""
    usual = HostedTrainerEntry(upstream=rulebook.policy.catalogue.default_upstream())
    return rulebook.tuning.trainers or {USUAL: usual}


def trainer_for(rulebook: Rulebook, model: str, team: str) -> tuple[str, TrainerEntry]:
    """Who trains this for this team, by name. Raises InvalidRequest (400) when nobody does."""
    entries = trainers_of(rulebook)
    name = rulebook.tuning.trainer_of(model, team) if rulebook.tuning.trainers else USUAL
    if name is None or name not in entries:
        raise InvalidRequest(f"No trainer here takes jobs for the model {model!r}.", param="model")
    return name, entries[name]


def base_url(upstream: Upstream) -> str:
    """Where an upstream is, with its prefix."""
    origin = upstream.origin
    return f"{origin.scheme}://{origin.host}:{origin.port}{origin.prefix}"


class Stored:
    """A file of ours as a trainer reads it."""

    def __init__(self, files: FileStore, stored: StoredFile) -> None:
        self._files = files
        self.file = TrainingFile(stored.id, stored.filename, stored.size)

    async def read(self) -> AsyncIterator[bytes]:
        """Its bytes. Raises NotFound (404) when they are not there whole any more."""
        left = self.file.size
        async for part in self._files.parts(self.file.id):
            left -= len(part)
            yield part
        if left:
            raise NotFound(f"File {self.file.id!r} was deleted.")


class Training:
    """What the engine and the trainers need of the gateway; see `Around` and `Means`."""

    def __init__(
        self,
        files: FileStore,
        ledger: Ledger,
        webhooks: WebhookStore,
        upstreams: Upstreams,
        rulebook: Callable[[], Rulebook],
        folder: Path,
        policies: Path,
        environment: Mapping[str, str],
        asks: Asks,
        check: Check,
    ) -> None:
        self.folder = folder
        self.policies = policies
        self.environment = environment
        self.asks = asks
        self._files = files
        self._copies = Copies(files)
        self._ledger = ledger
        self._webhooks = webhooks
        self._upstreams = upstreams
        self.rulebook = rulebook
        self._check = check
        self._made: dict[str, tuple[TrainerEntry, Trainer]] = {}
        # What the registry of lines does when models come or go.
        self.changed: Changed = _nothing

    def trainer(self, name: str) -> Trainer | None:
        """See Around. The same object as long as its entry stays the same."""
        entry = trainers_of(self.rulebook()).get(name)
        if entry is None:
            return None
        held = self._made.get(name)
        if held is None or held[0] != entry:
            held = self._made[name] = (entry, KINDS[entry.kind](entry, self))
        return held[1]

    def upstream(self, name: str) -> Upstream:
        """See Means."""
        found = self._upstreams.current.get(name)
        if found is None:
            raise UpstreamFailed(f"Upstream {name!r} is not in models.yaml any more.")
        return found

    async def copied(self, upstream: str, source: Source, purpose: str) -> str:
        """See Means."""
        stored = await self._files.find(source.file.id)
        if stored is None:
            raise TrainerRefused(f"The file {source.file.id!r} was deleted.", param="training_file")
        try:
            return await self._copies.at(self.upstream(upstream), stored, purpose)
        except CopyRefused as refusal:
            raise TrainerRefused(f"The trainer refused the file: {refusal}", param="training_file") from None

    async def source(self, job: TuningJob, file_id: str) -> Source | None:
        """See Around."""
        stored = await self._files.find(file_id)
        return None if stored is None or stored.team != job.team else Stored(self._files, stored)

    async def check(self, job: TuningJob, training: Source, validation: Source | None) -> Checked:
        """See Around."""
        entry = trainers_of(self.rulebook()).get(job.trainer)
        return await self._check(job, entry, training, validation)

    def admit_job(self, job: TuningJob, others: Sequence[TuningJob]) -> None:
        """See Around. Others count in the budgets that they share with the job."""
        own = self._estimate(job)
        meters = self._meters(job)
        if not own or not any(meter.rule.is_hard for meter in meters):
            return
        held = [(self._meters(other), self._estimate(other)) for other in others]
        for meter in meters:
            together = own + sum(nano_usd for shared, nano_usd in held if meter in shared)
            if meter.is_known and meter.is_over(together):
                raise meter.exceeded()

    def _estimate(self, job: TuningJob) -> int:
        rates = training_rates(self._ledger.prices, job.model, job.created_at)
        if rates is None or job.estimated_tokens is None:
            return 0
        return training_cost(rates, job.estimated_tokens) or 0

    def _meters(self, job: TuningJob) -> tuple[Meter, ...]:
        owner = Principal(job.team, job.key_id, "", organisation=job.organisation)
        pairs = msgspec.json.decode(job.metadata, type=dict[str, str])
        return self._ledger.budgets.meters(owner, tuple(sorted(pairs.items())), self._ledger.clock.wall())

    async def publish(self, job: TuningJob, tuned_model: str) -> None:
        """See Around. What our own worker serves is in its folder already; vLLM is told."""
        entry = trainers_of(self.rulebook()).get(job.trainer)
        if entry is not None:
            await self._published(entry, only=tuned_model)

    async def publish_all(self) -> None:
        """Has vLLM serve everything that was trained here; what it has already is left alone.

        Raises UpstreamFailed (502) for the first that could not be.
        """
        for entry in trainers_of(self.rulebook()).values():
            await self._published(entry)

    async def _published(self, entry: TrainerEntry, only: str | None = None) -> None:
        if isinstance(entry, HostedTrainerEntry) or (isinstance(entry, LocalTrainerEntry) and entry.serve is not None):
            return
        root = self.folder if isinstance(entry, LocalTrainerEntry) else Path(entry.folder)
        seen_as = str(root) if isinstance(entry, LocalTrainerEntry) else entry.seen_as or str(root)
        upstream = self.upstream(entry.upstream)
        headers = {name.decode(): value.decode() for name, value in upstream.headers}
        faults = []
        for name, adapter in read_published(root).items():
            if only is None or name == only or name.startswith(f"{only}:"):
                try:
                    await publish(self.asks, (base_url(upstream),), name, f"{seen_as}/{adapter.path}", headers)
                except (UpstreamFailed, UpstreamTimeout) as fault:
                    # One adapter that cannot be loaded is not to keep others from being.
                    faults.append(fault.message)
        if faults:
            raise UpstreamFailed(" ".join(faults[:5]))

    async def keep(self, job: TuningJob, name: str, content: bytes) -> str:
        """See Around."""
        filename = f"{job.id}-{name.rpartition('/')[2]}"[-255:]
        known = await self._files.named(job.team, RESULTS, filename)
        kept = known or await self._files.add(job.team, filename, RESULTS, content)
        entry = trainers_of(self.rulebook()).get(job.trainer)
        if isinstance(entry, HostedTrainerEntry):
            # There it lies beside the files of all teams.
            await self._files.copied(kept.id, job.team, entry.upstream, name)
        return kept.id

    def book(self, job: TuningJob, progress: Progress, at: float) -> Booked:
        """See Around."""
        seconds = progress.seconds
        told = Told(
            id=job.id,
            object="fine_tuning.job",
            status=progress.status,
            model=job.model,
            fine_tuned_model=progress.tuned_model,
            created_at=at - seconds if seconds is not None else job.created_at,
            finished_at=at,
            trained_tokens=progress.trained_tokens,
        )
        kept = self._job(job)
        event = training_event(kept, told, at, self._ledger.prices)
        book_job(self._ledger, kept, [event])
        return Booked(event.cost_nano_usd)

    def tell(self, job: TuningJob) -> Inside | None:
        """See Around. The message is the one that OpenAI sends, and the official SDK reads."""
        urls = [
            entry.url for entry in self.rulebook().tuning.webhooks if ANYBODY in entry.teams or job.team in entry.teams
        ]
        if not urls or job.state not in TOLD:
            return None
        body = msgspec.json.encode(
            {
                "id": f"evt_{job.id}",
                "object": "event",
                "type": f"fine_tuning.job.{job.state}",
                "created_at": int(job.ended_at or self._ledger.clock.wall()),
                "data": {"id": job.id},
            }
        ).decode()

        async def add(session: Any) -> None:
            for url in urls:
                await self._webhooks.add(session, f"tuning:{job.id}:{job.state}", url, body)

        return add

    async def made(self, job: TuningJob) -> None:
        """See Around."""
        del job
        await self.changed()

    async def withdraw(self, model: Model) -> None:
        """Has a model deleted where it is served. Raises UpstreamFailed (502) when that cannot be asked for."""
        unpublish(self.folder, model.id)
        upstream = self._upstreams.current.get(model.upstream)
        if upstream is None:
            return
        entries = trainers_of(self.rulebook()).values()
        ours = [one for one in entries if not isinstance(one, HostedTrainerEntry) and one.upstream == model.upstream]
        if ours:
            headers = {name.decode(): value.decode() for name, value in upstream.headers}
            await withdraw(self.asks, (base_url(upstream),), model.id, headers)
            return
        status, _ = await ask(upstream, "DELETE", f"/models/{quote(model.id, safe=':')}")
        if status >= 500 or status in {401, 403, 429}:
            raise UpstreamFailed(f"Upstream {upstream.name!r} answered {status} to the deletion of {model.id!r}.")

    def serves(self, model: str) -> str | None:
        """The line of which a model is a version, or None."""
        found = self.rulebook().policy.catalogue.line_of(model)
        return None if found is None else found[0]

    def admit(self, principal: Principal, metadata: Mapping[str, str], nano_usd: int = 0) -> None:
        """Raises BudgetExceeded (429) when a hard budget that a job would be charged to has no room for this much."""
        now = self._ledger.clock.wall()
        for meter in self._ledger.budgets.meters(principal, tuple(sorted(metadata.items())), now):
            if meter.is_known and meter.is_over(nano_usd):
                raise meter.exceeded()

    @staticmethod
    def _job(job: TuningJob) -> Job:
        return Job(
            id=job.id,
            kind="training",
            upstream=job.serves_at,
            team=job.team,
            key_id=job.key_id,
            organisation=job.organisation,
            model=job.model,
            created_at=job.created_at,
            metadata=job.metadata,
        )


async def _nothing() -> None:
    """Nobody is to hear of a change."""
