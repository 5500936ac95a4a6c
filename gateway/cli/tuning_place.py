"""Where the commands of `gateway tuning` find jobs, models and lines."""

from collections.abc import Awaitable, Callable
from typing import Any

from gateway.cli.place import database, run, settings


class Place:
    """What commands work with; the parts have the names that they have in a running gateway."""

    def __init__(self, opened: Any, found: Any) -> None:
        from gateway.core.clock import Clock
        from gateway.files.store import FileStore
        from gateway.live import load_all
        from gateway.registry import Registry
        from gateway.tuning.captured.store import CapturedCalls
        from gateway.tuning.feedback.store import FeedbackStore
        from gateway.tuning.jobs.models.store import TunedModels
        from gateway.tuning.jobs.store import TuningJobs
        from gateway.tuning.lines.store import Lines

        self._database = opened
        self.settings = found
        self.clock = Clock()
        self.loaded = load_all(found.policies, None, found.data)
        self.database = opened
        self.captured = CapturedCalls(opened)
        self.feedback = FeedbackStore(opened)
        self.files = FileStore(opened)
        self.jobs = TuningJobs(opened)
        self.models = TunedModels(opened)
        self.lines = Lines(opened)
        self.changes = Registry(self.lines, self.jobs, lambda: self.loaded.rulebook, self.clock)

    async def stale(self, within: int) -> Any:
        """Tuned models that will be shut down; see `stale_models`."""
        from gateway.core.clock import utc_day
        from gateway.core.settings import environment
        from gateway.ledger.reports.store import ReportStore
        from gateway.policy.load import load, read_texts
        from gateway.policy.registry_file import REGISTRY
        from gateway.stale import stale_models
        from gateway.tuned import registry_of

        now = self.clock.wall()
        texts = read_texts(self.settings.policies)
        # What the database has, and not what a gateway on this machine last read of it.
        registry = await registry_of(self._database)
        if registry:
            texts.files[REGISTRY] = registry
        reports = ReportStore(self._database)
        return await stale_models(reports, load(texts), environment(), now, utc_day(now), within)

    async def trials(self) -> Any:
        """How the canaries stand; see `Standing`."""
        from gateway.canaries import with_ratings
        from gateway.tuning.feedback.store import FeedbackStore
        from gateway.tuning.lines.store import Trials

        negative = FeedbackStore(self._database).negative
        return [await with_ratings(one, negative) for one in await Trials(self._database).standing()]


def with_tuned(work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Runs one command's work over the database and the policies of the settings."""

    async def done() -> Any:
        found = settings()
        async with database(found) as opened:
            return await work(Place(opened, found))

    return run(done())
