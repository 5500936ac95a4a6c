"""When an intent counts as durable: in the journal, synced to disk, or in the database. The operator chooses."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway.core.errors import AccountingUnavailable
from gateway.ledger.journal import Journal
from gateway.ledger.records import Intent, frame

SECONDS = 5.0
UNAVAILABLE = "Usage cannot be recorded at the moment (the {} does not take it), so no billable call is made."
Intend = Callable[[Mapping[str, bytes]], Awaitable[None]]


class Durable:
    """Waits for intents. waits: whether there is anything to wait for once an intent stands in the journal.

    intend: keeps intents in the database; given with `GATEWAY_DURABILITY=database`. trouble: what it raises when the
    database is away. Intents that come while it is at work go together with the next: a group is one transaction.
    """

    def __init__(
        self,
        journal: Journal,
        intend: Intend | None = None,
        trouble: tuple[type[Exception], ...] = (OSError,),
    ) -> None:
        self.waits = journal.durability != "journal"
        self._journal = journal
        self._intend = intend
        self._trouble: tuple[type[Exception], ...] = (*trouble, TimeoutError)
        self._waiting: dict[str, bytes] = {}
        self._failed: set[str] = set()
        self._turn = asyncio.Lock()

    async def settled(self, intent: Intent) -> None:
        """Returns when the intent is as durable as the operator wants it. Raises AccountingUnavailable (503)."""
        if self._intend is None:
            try:
                async with asyncio.timeout(SECONDS):
                    await self._journal.synced()
            except (OSError, TimeoutError) as fault:
                raise _unavailable("disk") from fault
            return
        await self._kept(intent, self._intend)

    async def _kept(self, intent: Intent, intend: Intend) -> None:
        own = intent.event.id
        self._waiting[own] = frame(intent)
        try:
            async with self._turn:
                if own in self._waiting:
                    await self._keep(intend, own)
            if own in self._failed:
                raise _unavailable("database")
        finally:
            self._waiting.pop(own, None)
            self._failed.discard(own)

    async def _keep(self, intend: Intend, own: str) -> None:
        group, self._waiting = self._waiting, {}
        # Failed until it is known to be kept: whoever leads may be cancelled at any moment.
        others = group.keys() - {own}
        self._failed |= others
        try:
            async with asyncio.timeout(SECONDS):
                await intend(group)
        except self._trouble as fault:
            raise _unavailable("database") from fault
        self._failed -= others


def _unavailable(what: str) -> AccountingUnavailable:
    return AccountingUnavailable(UNAVAILABLE.format(what), retry_after_seconds=1)
