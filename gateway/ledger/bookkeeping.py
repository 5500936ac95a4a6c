"""The books of one process: every part of them, built once, started and stopped together."""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway.core.clock import Clock
from gateway.core.event import UsageEvent
from gateway.core.money import usd_text
from gateway.core.settings import Durability
from gateway.db.engine import Database
from gateway.ledger.durable import Durable
from gateway.ledger.entry import Ledger
from gateway.ledger.journal import Journal
from gateway.ledger.leases.defined.store import RuleStore
from gateway.ledger.leases.lender import Lender
from gateway.ledger.leases.limits import Limits
from gateway.ledger.leases.meters import Budgets, Meter
from gateway.ledger.leases.store import LeaseStore
from gateway.ledger.leases.watch import Watch
from gateway.ledger.shipper import Shipper
from gateway.ledger.store import LedgerStore
from gateway.ledger.webhooks.store import WebhookStore
from gateway.pricing.table import PriceTable

Observe = Callable[[UsageEvent], None]


class Bookkeeping:
    """Journal, budgets, limits, ledger and shipper. trouble: what the database's drivers raise when it is away."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        prices: PriceTable,
        observe: Observe,
        clock: Clock,
        durability: Durability,
        trouble: tuple[type[Exception], ...],
        workers: int = 1,
    ) -> None:
        self._clock = clock
        self.journal = Journal(folder, durability=durability)
        self.rules = RuleStore(database)
        self.leases = LeaseStore(database)
        self.store = LedgerStore(database, self.leases)
        self.budgets = Budgets()
        self.limits = Limits()
        replica = self.journal.process
        self._webhooks = WebhookStore(database)
        lender = Lender(self.budgets, self.leases, replica, clock, trouble, self._tell)
        durable = Durable(self.journal, self._intend if durability == "database" else None, trouble)
        self.ledger = Ledger(self.journal, durable, lender, self.limits, prices, observe, clock)
        self.shipper = Shipper(self.ledger, self.store, observe, self.leases)
        self.watch = Watch(lender, self.limits, self.rules, self.leases, replica, clock, workers)
        self._pot: Any = None

    def share_limits_through(self, redis_url: str) -> None:
        """Has parts of limits that a replica does not use go to others. Raises BadConfiguration for a bad URL.

        The client's library is imported here: it takes 0.1 s, and most gateways have no Redis.
        """
        self._pot = importlib.import_module("gateway.ledger.leases.pot").Pot(redis_url)
        self.watch.borrow_through(self._pot)

    async def _intend(self, records: Mapping[str, bytes]) -> None:
        await self.leases.intend(self.journal.process, records)

    async def _tell(self, session: Any, meter: Meter, percent: int, spent_nano_usd: int) -> None:
        """Adds the message of a threshold that is passed to the transaction that says so."""
        rule = meter.rule
        if not rule.webhook:
            return
        data = {
            "scope": rule.scope,
            "name": rule.name,
            "window": rule.window,
            "since": meter.period.first_day.isoformat(),
            "time_zone": rule.time_zone,
            "threshold_percent": percent,
            "limit_usd": usd_text(rule.limit_nano_usd),
            "spent_usd": usd_text(spent_nano_usd),
            "is_hard": rule.is_hard,
        }
        at = datetime.fromtimestamp(self._clock.wall(), UTC).isoformat()
        body = msgspec.json.encode({"type": "budget.threshold_passed", "timestamp": at, "data": data}).decode()
        await self._webhooks.add(session, f"budget:{meter.pool}:{percent}", rule.webhook, body)

    async def stop(self, finish: Callable[[], Awaitable[None]]) -> None:
        """Ships what is left, gives back what is leased, and closes the journal; removes it when all is shipped.

        finish: what is still to be done with the closed journal before that.
        """
        await self.shipper.stop()
        self.journal.close()
        await finish()
        if self._pot is not None:
            await self._pot.close()
        if self.journal.all_settled and not self.shipper.pending_events:
            self.journal.remove()
