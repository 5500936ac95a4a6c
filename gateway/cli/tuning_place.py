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
        from gateway.tuning.jobs.models.store import TunedModels
        from gateway.tuning.jobs.store import TuningJobs
        from gateway.tuning.lines.store import Lines

        self.settings = found
        self.clock = Clock()
        self.loaded = load_all(found.policies, None, found.data)
        self.files = FileStore(opened)
        self.jobs = TuningJobs(opened)
        self.models = TunedModels(opened)
        self.lines = Lines(opened)
        self.changes = Registry(self.lines, self.jobs, lambda: self.loaded.rulebook, self.clock)


def with_tuned(work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Runs one command's work over the database and the policies of the settings."""

    async def done() -> Any:
        found = settings()
        async with database(found) as opened:
            return await work(Place(opened, found))

    return run(done())
