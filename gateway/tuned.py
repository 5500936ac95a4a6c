"""Fine-tuning of one process: the jobs' engine, and the registry of tuned models and lines as policies take it."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.adapter_servers import AdapterServers
from gateway.canaries import Canaries
from gateway.core.clock import utc_day
from gateway.core.errors import NotReady
from gateway.core.settings import Settings
from gateway.db.away import told_when_away
from gateway.db.engine import Database
from gateway.evaluating import LineEvaluations
from gateway.files.store import FileStore
from gateway.ledger.entry import Ledger
from gateway.ledger.reports.store import ReportStore
from gateway.ledger.webhooks.store import WebhookStore
from gateway.metrics.observe import Observer
from gateway.policy.load import Rulebook
from gateway.policy.registry_file import KEPT, LINE_FILES, OUR_FILES
from gateway.registry import Registry
from gateway.stale import Stale, stale_models
from gateway.training import Training
from gateway.tuning.feedback.store import FeedbackStore
from gateway.tuning.jobs.checking import check
from gateway.tuning.jobs.engine import Engine
from gateway.tuning.jobs.models.store import TunedModels
from gateway.tuning.jobs.store import TuningJobs
from gateway.tuning.lines.store import Lines, UpstreamShutdowns
from gateway.tuning.lines.values import Line, Version
from gateway.tuning.trials import Tally
from gateway.upstream.fetch import Fetcher
from gateway.upstream.upstreams import Upstreams

LOOK_SECONDS = 0.3
Json = dict[str, Any]
Work = Callable[[], Coroutine[Any, Any, None]]

log = logging.getLogger("gateway.tuning")


class Tuned:
    """registry: what the policy is to be loaded with, as the database has it; kept on disk for a start without one."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        upstreams: Upstreams,
        rulebook: Callable[[], Rulebook],
        settings: Settings,
        environment: Mapping[str, str],
        observer: Observer,
    ) -> None:
        self._database = database
        self._rulebook = rulebook
        self._environment = environment
        data = settings.data
        self._fetcher = Fetcher()
        self.files = FileStore(database)
        self.jobs = TuningJobs(database)
        self.models = TunedModels(database)
        self.lines = Lines(database)
        self.feedback = FeedbackStore(database)
        webhooks = WebhookStore(database)
        around = (self.files, ledger, webhooks, upstreams, rulebook, data / "tuning", settings.policies)
        self.training = Training(*around, environment, self._fetcher, check)
        self._servers = AdapterServers(rulebook, self.training, data / "tuning", settings.policies)
        self.training.changed = self.lines.touch
        self.changes = Registry(self.lines, self.jobs, rulebook, ledger.clock)
        self.evaluations = LineEvaluations(database, self.changes, ledger.clock)
        self.tally = Tally(observer.watching)
        self.canaries = Canaries(self.tally, database, self.changes, rulebook, ledger.clock, observer.rolled_back)
        self._shutdowns = UpstreamShutdowns(database)
        self._clock = ledger.clock
        self._engine = Engine(self.jobs, self.training, ledger.clock)
        self._kept = data / KEPT
        self._line_files = data / LINE_FILES
        self._seen = -1
        self.registry = kept_registry(data)

    def works(self, *, is_first: bool) -> tuple[tuple[str, Work], ...]:
        """What is to run for as long as the process does. is_first: this one serves adapters and judges canaries."""
        canaries = self.canaries.work(judges=is_first)
        works = (("tuning", self._engine.run), ("registry", self._watch), ("canaries", canaries))
        return (*works, ("adapters", self._servers.run)) if is_first else works

    async def close(self) -> None:
        """Closes connections."""
        await self._fetcher.close()

    async def heard(self, upstream: str, dates: Mapping[str, str]) -> None:
        """Keeps when an upstream's own list says that its models end; without the database, at the next call."""
        with contextlib.suppress(NotReady), told_when_away("when models end"):
            await self._shutdowns.heard(upstream, dates, self._clock.wall())

    async def stale(self, within: int, teams: frozenset[str] | None) -> list[Stale]:
        """Tuned models that end within so many days, and all others. teams: whose are to be seen; None for all."""
        now = self._clock.wall()
        around = (ReportStore(self._database), self._rulebook(), self._environment)
        return await stale_models(*around, now, utc_day(now), within, teams)

    async def load(self) -> None:
        """Reads the registry if it has changed since it was last read. Raises the database's error when it is away."""
        number = await self.lines.change_number()
        if number == self._seen:
            return
        text = await registry_of(self._database)
        for line, versions in await self.lines.all():
            await self._export(line, versions)
        if text != self.registry:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            partial = self._kept.with_suffix(f".{os.getpid()}.partial")
            partial.write_bytes(text)
            partial.replace(self._kept)
        self.registry = text
        self._seen = number

    async def _export(self, line: Line, versions: list[Version]) -> None:
        """Puts the training files of a line's champion and challenger where rules that ask `task:` read them."""
        for version in versions:
            if version.number not in {line.champion, line.challenger} or not version.training_file.startswith(
                OUR_FILES
            ):
                continue
            path = self._line_files / f"{version.training_file}.jsonl"
            stored = None if path.exists() else await self.files.find(version.training_file)
            if stored is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            with partial.open("wb") as file:
                async for part in self.files.parts(stored.id):
                    await asyncio.to_thread(file.write, part)
            partial.replace(path)

    async def _watch(self) -> None:
        while True:
            await self.load()
            await asyncio.sleep(LOOK_SECONDS)


async def registry_of(database: Database) -> bytes:
    """The registry as the database has it now, as the policy is loaded with it; b"" when there is nothing in it."""
    lines, models = await Lines(database).all(), await TunedModels(database).allowed()
    shutdowns = {name: dates for name, dates in (await UpstreamShutdowns(database).all()).items() if dates}
    tuned = {one.id: {"upstream": one.upstream, "teams": list(one.teams)} for one in models}
    if not tuned and not lines and not shutdowns:
        return b""
    entries = {line.name: line_entry(line, versions) for line, versions in lines}
    return msgspec.json.encode({"models": tuned, "lines": entries, "shutdowns": shutdowns}, order="sorted")


def kept_registry(data: Path) -> bytes:
    """The registry as it was when it was last read; b"" when it never was."""
    kept = data / KEPT
    return kept.read_bytes() if kept.is_file() else b""


def line_entry(line: Line, versions: list[Version]) -> Json:
    """A line as models.yaml would have it."""
    entry: Json = {
        "versions": [_version_entry(version) for version in versions],
        "champion": line.champion,
        "canary": line.canary,
        "teams": msgspec.json.decode(line.teams),
    }
    if line.challenger is not None:
        entry["challenger"] = line.challenger
    if line.successor is not None:
        entry["successor"] = msgspec.json.decode(line.successor)
    return entry


def _version_entry(version: Version) -> Json:
    entry: Json = {"id": version.model, "upstream": version.upstream, "base": version.base}
    if version.shutdown_date is not None:
        entry["shutdown_date"] = version.shutdown_date
    if version.training_file:
        entry["training_file"] = version.training_file
    return entry
