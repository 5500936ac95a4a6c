"""Builds every object once and gives each what it needs. No other file knows all packages."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy.exc import SQLAlchemyError

from gateway.answered import Answers
from gateway.beside import Beside, kept_up
from gateway.charges import Charges
from gateway.core import collector
from gateway.core.clock import Clock, month_start, utc_month
from gateway.core.errors import BadConfiguration, KnowledgeUnavailable
from gateway.core.money import nano_from_usd
from gateway.core.settings import Settings
from gateway.db.engine import Database
from gateway.db.schema import upgrade
from gateway.gauges import Gauges
from gateway.http.admin.money import Money
from gateway.http.admin.needs import Admin
from gateway.http.auth import Doors
from gateway.http.health import Health
from gateway.http.local.also import AlsoAnswered
from gateway.http.local.captured import Captured
from gateway.http.local.shelf import Shelf
from gateway.http.log import CallLog
from gateway.http.models import Models
from gateway.http.proxy import Proxy
from gateway.http.server import make_litestar
from gateway.identity.store import Team
from gateway.judging import Judges
from gateway.kept import Unkept
from gateway.knowledge.embedders.remembered import Remembered
from gateway.knowledge.library import Library
from gateway.knowledge.opened import open_store
from gateway.knowledge.polling import SourceRecords
from gateway.knowledge.rerankers.rerank_api import ApiReranker
from gateway.known import Known
from gateway.ledger.answers.store import AnswerStore
from gateway.ledger.bookkeeping import Bookkeeping
from gateway.live import Loaded, load_all, signature, tasks_of, training_files
from gateway.live_knowledge import collections_of, embedders_of, unrecorded
from gateway.metrics.instruments import fresh_instruments
from gateway.metrics.observe import Observer
from gateway.paths.lookups import LookUps
from gateway.paths.prepare import Paths
from gateway.paths.rag import Sources
from gateway.pipeline import Pipeline
from gateway.shadow import Shadows
from gateway.tuned import Tuned, kept_registry
from gateway.tuning.keeping import keep_prepared
from gateway.tuning.tasks import Tasks
from gateway.upstream.httpx_transport import HttpxTransport
from gateway.upstream.organization import Accounts
from gateway.upstream.port import Transport
from gateway.upstream.post import JsonPoster
from gateway.upstream.send import Sender
from gateway.upstream.transport import Http1Transport
from gateway.upstream.upstreams import Upstream, Upstreams

POLL_SECONDS = 0.25
BUDGET_SECONDS = 1.0
# What the database's drivers raise when it is away.
AWAY = (SQLAlchemyError, OSError)
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

log = logging.getLogger("gateway.app")


Fresh = tuple[Loaded, dict[str, Upstream], dict[str, Remembered], Tasks]


class Gateway:
    """One process of the gateway, all its parts. worker: 0 is the one that keeps collections in step."""

    ready = False

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], *, worker: int = 0, access_log: bool = True
    ) -> None:
        self.settings = settings
        self._environment = environment
        self._worker = worker
        self.clock = Clock()
        self._registry = kept_registry(settings.data)
        self.loaded = load_all(settings.policies, environment, settings.data)
        self.registry, self.instruments = fresh_instruments()
        self.observer = Observer(self.instruments)
        self.gauges = Gauges(self.instruments, self.observer)
        self.database = Database(settings.database_url)
        self.known = Known(self.database, settings, self.clock, self._know_teams, self._kept_budgets)
        self.identity, self.keys = self.known.identity, self.known.keys
        self.doors = Doors(settings, self.known.pepper, self.known.holders, self.clock)
        self.bookkeeping = self._make_bookkeeping()
        self.shipper = self.bookkeeping.shipper
        self.books, self.ledger = self.bookkeeping.store, self.bookkeeping.ledger
        self.charges = Charges(self.ledger, lambda: self.loaded.rulebook)
        self.transports: dict[str, Transport] = {"http1": Http1Transport(), "httpx": HttpxTransport()}
        self.upstreams = Upstreams(self.transports, environment, self.clock)
        self.upstreams.replace(self.upstreams.build(self.loaded.rulebook.models.upstreams))
        self.poster = JsonPoster()
        # One object for each embedder: whoever asks for the same text again, of whichever part, has it at once.
        self.embedders = embedders_of(self.loaded, environment, self.poster.post)
        self.library = self._make_library()
        self.ledger.grounded = self.observer.grounded
        self.paths = self._make_paths()
        self.sender = Sender(self.upstreams, self.observer.tried)
        self.shadows = Shadows(self.ledger, self.paths, self.sender, self.clock, self.observer.copied)
        self.judges = Judges(self.ledger, self.paths, self.sender, self.clock, self.observer.judged)
        self.tuned = self._make_tuned()
        self.shelf = self._make_shelf()
        parts = (self.database, self.observer, lambda: self.loaded.rulebook, self.clock)
        self.captured = Captured(*parts, sweeps=worker == 0)
        self.pipeline = self._make_pipeline()
        also = (self.shelf, self.tuned, self.captured, self.clock)
        self.also = AlsoAnswered(self.database, self.pipeline, *also)
        self.call_log = CallLog((lambda data: os.write(2, data)) if access_log else None)
        models = Models(self.keys, self.pipeline, self.upstreams, self.clock, self.tuned.heard)
        self.proxy = Proxy(self.pipeline, models, self.shelf.surface, self.call_log, self.clock, settings.most_bytes)
        self.beside = Beside(settings, self.database, self.ledger, self.poster, self.upstreams, worker)
        self._signature = signature(settings.policies, training_files(self.loaded).values())
        self._tasks: list[asyncio.Task[None]] = []
        self._replaced = asyncio.Event()
        self.unkept = Unkept(settings.data / "policies")
        self.gauges.announce(self.loaded)

    def _make_bookkeeping(self) -> Bookkeeping:
        found = self.settings
        prices, observe = self.loaded.prices, self.observer.observe
        durability, workers = found.books.durability, found.workers
        folder = found.data / "journal"
        made = Bookkeeping(self.database, folder, prices, observe, self.clock, durability, AWAY, workers)
        if found.books.redis_url is not None:
            made.share_limits_through(found.books.redis_url)
        made.ledger.context_tokens = self.loaded.rulebook.knowledge.context_tokens
        return made

    def _make_library(self) -> Library:
        return Library(
            open_store(self.settings),
            collections_of(self.loaded, self._environment),
            self.embedders,
            booked=self.charges.ingested,
            build=lambda one: ApiReranker(one, self.poster.post),
            records=SourceRecords(self.settings.data / "sources.json"),
        )

    def _make_paths(self) -> Paths:
        tasks = tasks_of(self.loaded, self.embedders, self.settings.data / "examples")
        sources = Sources(self.library, self.ledger.context_tokens, self.observer.retrieved, self.charges.embedded)
        sources.unrecorded = unrecorded(self.loaded)
        made = Paths(self.upstreams, LookUps(sources, tasks))
        made.sunsets.replace(self.loaded.rulebook.policy.catalogue)
        return made

    def _make_pipeline(self) -> Pipeline:
        policy, beside = self.loaded.rulebook.policy, (self.shadows, self.judges)
        way = (self.keys, policy, self.ledger, self.paths, self.sender)
        return Pipeline(*way, *beside, self.clock, self.shelf, self.captured.capturing)

    def _make_tuned(self) -> Tuned:
        around = (self.database, self.ledger, self.upstreams, lambda: self.loaded.rulebook)
        made = Tuned(*around, self.settings, self._environment, self.observer)
        self.paths.tally, self.paths.succeeded = made.tally, self.observer.succeeded
        return made

    def _make_shelf(self) -> Shelf:
        made = Shelf(
            self.database, self.library, self.keys, self.charges.embedded, self.upstreams, self.clock, self.tuned
        )
        self.library.look_up = made.look_up
        self.charges.maker_of = self.library.maker_of
        return made

    def application(self) -> Litestar:
        """The ASGI application; its lifespan starts and stops everything."""
        admin = Admin(
            self.identity,
            self.known.access,
            self.bookkeeping,
            self.pipeline,
            Answers(AnswerStore(self.database), self.library.current),
            self.library,
        )
        accounts = Accounts(lambda: self.loaded.rulebook.models.upstreams, self._environment, self.poster.get)
        money = Money(self.database, lambda: self.ledger.prices, accounts, self.settings.policies, self.clock)
        health = Health(self.not_ready, self.exposed(), self.refresh)
        serve_metrics = self.settings.metrics_port is None
        parts = (self.proxy, self.doors, admin, money, health, self.beside, self.tuned)
        return make_litestar(*parts, self._lifespan, serve_metrics=serve_metrics)

    def exposed(self) -> CollectorRegistry:
        """What a scrape reads: this process's registry, or that of all workers together."""
        if MULTIPROCESS not in os.environ:
            return self.registry
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # the library leaves it untyped
        return together

    def not_ready(self) -> str | None:
        """Why calls are not welcome; None when they are."""
        if not self.ready:
            return self.beside.waiting or "starting or shutting down"
        return None

    @asynccontextmanager
    async def _lifespan(self, _app: Litestar) -> AsyncIterator[None]:
        await self.beside.begin(self.start, self.recall)
        try:
            yield
        finally:
            await self.stop()

    def recall(self) -> bool:
        """Serves with the keys and budgets that were left on disk, while the database is away; `start` follows."""
        budgets = self.known.recall() if self.known.can_recall() else None
        if budgets is None:
            return False
        self.bookkeeping.watch.restored(budgets)
        self.ready = True
        return True

    async def start(self) -> None:
        """Brings the database up to date, books what a dead process left, loads keys and budgets."""
        if self.settings.migrates:
            await upgrade(self.database)
        await self._declare()
        await self.shipper.recover()
        await self.bookkeeping.watch.start()
        await self.known.load()
        await self._load_shadows()
        await self.tuned.load()
        if self.tuned.registry != self._registry:
            await self.reload()
        self.unkept.note(self.loaded.texts.hash, self.loaded.texts.files)
        await self.unkept.hand_over(self.books.keep_policy)
        self.shipper.start()
        self._task("policies", self._watch_policies)
        self._task("identity", self.known.watch)
        self._task("gauges", self._tick)
        for name, work in self.bookkeeping.watch.works(AWAY):
            self._task(name, work)
        self._task("examples", self._prepare_examples)
        self._task("kept", self._keep_policies)
        works = (*self.shelf.works(sweeps=self._worker == 0), *self.also.works)
        for name, work in (*works, *self.tuned.works(is_first=self._worker == 0)):
            self._task(name, work)
        if self._worker == 0:
            with contextlib.suppress(KnowledgeUnavailable):
                await self.library.sync(is_local=True)
            self._task("library", self.library.watch)
            self._task("sources", self.library.poll)
        self.beside.start()
        collector.settle()
        self.ready = True

    async def stop(self) -> None:
        """Ends every task, ships what is left, closes what is open."""
        self.ready = False
        await self.beside.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.shadows.stop()
        await self.judges.stop()
        await self.captured.stop()
        await self.unkept.hand_over(self.books.keep_policy)
        await self.library.close()
        for transport in self.transports.values():
            await transport.close()
        await self.doors.fetcher.close()
        await self.tuned.close()
        # The export reads the end of the closed journal, and its posts go through the poster.
        await self.bookkeeping.stop(self.beside.finish)
        await self.poster.close()
        await self.database.close()
        self.call_log.flush()

    def _task(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.create_task(kept_up(name, work), name=name))

    async def _watch_policies(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            found = signature(self.settings.policies, training_files(self.loaded).values())
            if found != self._signature or self.tuned.registry != self._registry:
                self._signature = found
                await self.reload()

    async def reload(self) -> list[str]:
        """Takes over the policy files as they stand, all or none. Gives the faults that kept the last good ones."""
        try:
            fresh = await self._read_anew()
        except BadConfiguration as bad:
            return self._rejected(bad.faults)
        except Exception as fault:
            # A fault of ours must not look like an edit that went live, nor end the watching.
            log.exception("policy_unreadable")
            return self._rejected([f"{self.settings.policies}: cannot be read: {type(fault).__name__}: {fault}."])
        if fresh is None:
            return []
        loaded, upstreams, embedders, tasks = fresh
        # No await between these: no call sees half of a change.
        self.loaded = loaded
        self.upstreams.replace(upstreams)
        self.ledger.prices = loaded.prices
        self.paths.sources.context_tokens = loaded.rulebook.knowledge.context_tokens
        self.paths.sources.unrecorded = unrecorded(loaded)
        self.ledger.context_tokens = loaded.rulebook.knowledge.context_tokens
        self.embedders = embedders
        self.library.replace(collections_of(loaded, self._environment), embedders)
        self.paths.lookups.tasks = tasks
        self.paths.sunsets.replace(loaded.rulebook.policy.catalogue)
        self.pipeline.policy = loaded.rulebook.policy
        self._replaced.set()
        self.gauges.announce(loaded)
        log.info("policy_loaded", extra={"fields": {"hash": loaded.texts.hash}})
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._declare()
        return []

    async def _read_anew(self) -> Fresh | None:
        """Everything that the files mean now, ready to be put in place; None when only a training file changed.

        Off the loop: a thousand rules take a third of a second, a local model too, and calls are being served.
        """
        self._registry = self.tuned.registry
        loaded = await asyncio.to_thread(load_all, self.settings.policies, self._environment, self.settings.data)
        if loaded.texts.hash == self.loaded.texts.hash:
            await self._renew_tasks(loaded)
            return None
        upstreams = self.upstreams.build(loaded.rulebook.models.upstreams)
        embedders = await asyncio.to_thread(embedders_of, loaded, self._environment, self.poster.post, self.embedders)
        tasks = await self._tasks_of(loaded, embedders)
        self.unkept.note(loaded.texts.hash, loaded.texts.files)
        return loaded, upstreams, embedders, tasks

    def _rejected(self, faults: list[str]) -> list[str]:
        self.gauges.rejected()
        log.error("policy_rejected", extra={"fields": {"faults": faults[:20], "kept": self.loaded.texts.hash}})
        return faults

    async def _keep_policies(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self.unkept.hand_over(self.books.keep_policy)

    async def _renew_tasks(self, loaded: Loaded) -> None:
        self.paths.lookups.tasks = await self._tasks_of(loaded, self.embedders)
        self._replaced.set()

    async def _tasks_of(self, loaded: Loaded, embedders: Mapping[str, Remembered]) -> Tasks:
        return await asyncio.to_thread(tasks_of, loaded, embedders, self.settings.data / "examples")

    async def _declare(self) -> None:
        """What the policy files name, the database knows too."""
        await self.shelf.declare({one.name: one.title for one in collections_of(self.loaded)})
        for name, entry in self.loaded.rulebook.teams.teams.items():
            limit = None if entry.monthly_budget_usd is None else nano_from_usd(str(entry.monthly_budget_usd))
            organisation = entry.organisation or ""
            await self.identity.declare_team(name, entry.title, limit, organisation=organisation, actor="policy")

    async def _prepare_examples(self) -> None:
        await keep_prepared(lambda: self.paths.lookups.tasks, self._replaced, self.charges.example)

    def _kept_budgets(self) -> bytes:
        return self.bookkeeping.watch.kept()

    def _know_teams(self, teams: list[Team]) -> None:
        self.charges.organisations = {team.name: team.organisation for team in teams}
        self.bookkeeping.watch.know_teams({team.name: team.monthly_budget_nano_usd for team in teams})

    async def _load_shadows(self) -> None:
        now = self.clock.wall()
        for rule, nano_usd in (await self.books.shadows_since(month_start(now))).items():
            self.shadows.spent.spent(rule, nano_usd, utc_month(now))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(BUDGET_SECONDS)
            self.refresh()
            if self.settings.workers > 1:
                with contextlib.suppress(SQLAlchemyError, OSError):
                    await self._load_shadows()

    def refresh(self) -> None:
        """Brings the gauges up to now."""
        used, states = self.bookkeeping.budgets.teams_used(), self.upstreams.states()
        pending, in_flight = self.shipper.pending_events, self.proxy.in_flight
        self.gauges.refresh(used, states, self.library.passed, pending, in_flight, self.clock.wall())
