"""What runs beside the calls, in tasks of its own: waiting for a schema, upkeep of tables, webhooks, exports, jobs."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.core.errors import DatabaseAway, GatewayError
from gateway.core.settings import Settings
from gateway.db.engine import Database
from gateway.db.partitions import Upkeep, keep_up, keep_up_daily
from gateway.db.schema import fits, until_fits
from gateway.db.store import note_alone
from gateway.ledger.entry import Ledger
from gateway.ledger.export.exporter import Exporter
from gateway.ledger.export.store import ExportStore
from gateway.ledger.export.target import target_of
from gateway.ledger.jobs.store import JobStore
from gateway.ledger.jobs.watch import JobWatch
from gateway.ledger.webhooks.delivery import Messenger, signing_keys
from gateway.ledger.webhooks.store import WebhookStore
from gateway.upstream.post import JsonPoster
from gateway.upstream.upstreams import Upstreams

AGAIN_SECONDS = 1.0
FINISH_SECONDS = 5.0
NO_SCHEMA = "waiting for the database's schema: run `gateway db upgrade`"

log = logging.getLogger("gateway.beside")
Work = Callable[[], Coroutine[Any, Any, None]]


class Beside:
    """The tasks that no call waits for. worker: 0 does what needs doing once a gateway."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        ledger: Ledger,
        poster: JsonPoster,
        upstreams: Upstreams,
        worker: int,
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock = ledger.clock
        self._worker = worker
        self._tasks: list[asyncio.Task[None]] = []
        self.waiting = ""
        keys = signing_keys(settings.books.webhook_secret)
        self.messenger = Messenger(WebhookStore(database), poster.status, keys, clock.wall)
        self.jobs = JobWatch(ledger, JobStore(database), upstreams, settings.data / "jobs")
        ledger.passing = self.jobs.see
        self.exporter: Exporter | None = None
        if settings.books.export is not None:
            target = target_of(settings.books.export, settings.books.export_password, poster.post)
            # Here and not in `start`: the first record must find its file kept for the export.
            self.exporter = Exporter(ledger.journal, target, ExportStore(database))

    async def begin(self, start: Callable[[], Coroutine[Any, Any, None]], recall: Callable[[], bool]) -> None:
        """Starts the gateway, or, where somebody else migrates, has it start as soon as the schema is there.

        recall: serves with what was left on disk while the database is away; False when nothing was.
        """
        try:
            if self._settings.migrates or await fits(self._database):
                await start()
                return
        except DatabaseAway as away:
            if not recall():
                raise
            log.warning("started_without_database", extra={"fields": {"faults": away.faults}})
            self._task("start", start)
            return

        async def later() -> None:
            await until_fits(self._database)
            await start()
            self.waiting = ""

        self.waiting = NO_SCHEMA
        self._task("start", later)

    def start(self) -> None:
        """Begins everything that needs the schema."""
        if self._worker == 0:
            self._task("upkeep", self._keep_up)
        self._task("webhooks", self.messenger.run)
        self._task("jobs", self.jobs.run)
        if self.exporter is not None:
            self._task("export", self.exporter.run)

    async def stop(self) -> None:
        """Ends every task."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def finish(self) -> None:
        """Exports the end of the closed journal, if that can be done soon; else the next process does it."""
        if self.exporter is None:
            return
        with contextlib.suppress(SQLAlchemyError, GatewayError, OSError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self.exporter.finish()
        self.exporter.close()

    async def retain(self, months: int | None, actor: str, *, dry_run: bool) -> Upkeep:
        """Keeps the tables in shape now. months: without it what the settings say."""
        kept = self._settings.books.retention_months if months is None else months
        done = await keep_up(self._database, self._clock.wall(), kept, dry_run=dry_run)
        if not dry_run:
            await note_alone(self._database, actor, "rows.retain", "rows", months=kept, done=done)
        return done

    async def _keep_up(self) -> None:
        await keep_up_daily(self._database, self._clock.wall, self._settings.books.retention_months)

    def _task(self, name: str, work: Work) -> None:
        self._tasks.append(asyncio.create_task(kept_up(name, work), name=name))


async def kept_up(name: str, work: Work) -> None:
    """Runs a watcher, and again when a fault of ours ends it."""
    while True:
        try:
            await work()
        except (SQLAlchemyError, OSError, DatabaseAway) as fault:
            log.warning("watcher_waits", extra={"fields": {"watcher": name, "error": type(fault).__name__}})
            await asyncio.sleep(AGAIN_SECONDS)
        except Exception:
            # A watcher that died unseen would leave old keys or an old policy in force for ever.
            log.exception("watcher_failed", extra={"fields": {"watcher": name}})
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            return
