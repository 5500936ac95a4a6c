"""What keeps budgets and limits of this process in step with the database, in the background."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from gateway.core.clock import Clock
from gateway.ledger.leases.borrow import Borrower, MovesParts
from gateway.ledger.leases.defined.store import RuleStore
from gateway.ledger.leases.lender import Lender
from gateway.ledger.leases.limits import Limits
from gateway.ledger.leases.rules import BudgetRule, LimitRule, effective
from gateway.ledger.leases.store import LeaseStore

RULES_SECONDS = 0.4
WANTED_SECONDS = 0.1
FILL_SECONDS = 0.25
LOOK_SECONDS = 1.0
BEAT_SECONDS = 2.0
# Silence of others counts for who has itself been heard without a gap for this long.
UNBROKEN_SECONDS = 15.0
BORROW_SECONDS = 0.05
AWAY_SECONDS = 1.0
# A database that hangs must not hang what else there is to do.
PATIENCE_SECONDS = 10.0

_KEPT = msgspec.msgpack.Decoder(tuple[dict[str, int | None], list[BudgetRule], list[LimitRule], tuple[int, int]])

log = logging.getLogger("gateway.ledger")
Work = Callable[[], Coroutine[Any, Any, None]]


class Watch:
    """Reads rules, takes grants ahead, gives back what others want, and says that this process lives.

    workers: how many processes this gateway starts; there are never fewer replicas.
    """

    def __init__(
        self,
        lender: Lender,
        limits: Limits,
        rules: RuleStore,
        leases: LeaseStore,
        replica: str,
        clock: Clock,
        workers: int = 1,
    ) -> None:
        self._lender = lender
        self._limits = limits
        self._rules = rules
        self._leases = leases
        self._replica = replica
        self._clock = clock
        self._workers = workers
        self._place = (0, workers)
        self._beat_at = self._unbroken_since = clock.monotonic()
        self._version = -1
        self._defined: list[BudgetRule] = []
        self._limit_rules: list[LimitRule] = []
        self._teams: dict[str, int | None] = {}
        self._borrower: Borrower | None = None

    def borrow_through(self, pot: MovesParts) -> None:
        """Has parts of limits moved between replicas through a pot."""
        self._borrower = Borrower(self._limits, pot, self._clock)

    def know_teams(self, budgets: Mapping[str, int | None]) -> None:
        """Takes over the monthly budgets that stand with teams, in nano-dollars; None is no budget."""
        self._teams = dict(budgets)
        self._define()

    def _define(self) -> None:
        self._lender.budgets.define(effective(self._teams, self._defined))

    def kept(self) -> bytes:
        """The budgets and limits that are known, for a process that starts while the database is away."""
        return msgspec.msgpack.encode((self._teams, self._defined, self._limit_rules, self._place))

    def restored(self, kept: bytes) -> None:
        """Takes over what `kept` has given: hard budgets are known to be hard, and cannot be checked yet."""
        if kept:
            self._teams, self._defined, self._limit_rules, self._place = _KEPT.decode(kept)
            self._limits.place(*self._place, self._clock.monotonic())
            self._limits.define(self._limit_rules, self._clock.monotonic())
            self._define()

    async def start(self) -> None:
        """Joins the replicas, hears how many there are, and reads the rules."""
        await self._leases.join(self._replica)
        await self._beat()
        await self._read_rules()

    def works(self, trouble: tuple[type[Exception], ...]) -> list[tuple[str, Work]]:
        """What is to run for as long as the process serves, each with its name. trouble: a database that is away."""
        away: tuple[type[Exception], ...] = (*trouble, TimeoutError)

        def repeated(name: str, work: Work, seconds: float) -> tuple[str, Work]:
            async def repeat() -> None:
                is_away = False
                while True:
                    await asyncio.sleep(AWAY_SECONDS if is_away else seconds)
                    try:
                        async with asyncio.timeout(PATIENCE_SECONDS):
                            await work()
                    except away as fault:
                        # Said once: what is done ten times a second would fill the log in an outage.
                        if not is_away:
                            fields = {"work": name, "error": type(fault).__name__}
                            log.warning("database_away", extra={"fields": fields})
                        is_away = True
                    else:
                        is_away = False

            return name, repeat

        borrows = [repeated("limit_borrow", self._borrower.pass_once, BORROW_SECONDS)] if self._borrower else []
        return [
            *borrows,
            repeated("budget_rules", self._read_rules, RULES_SECONDS),
            repeated("budget_give_back", self._lender.give_back, WANTED_SECONDS),
            repeated("budget_fill", self._lender.fill, FILL_SECONDS),
            repeated("budget_look", self._lender.look, LOOK_SECONDS),
            repeated("replica_beat", self._beat, BEAT_SECONDS),
        ]

    async def _read_rules(self) -> None:
        if self._version == await self._rules.version():
            return
        self._version, self._defined, self._limit_rules = await self._rules.load()
        self._limits.define(self._limit_rules, self._clock.monotonic())
        self._define()

    async def _beat(self) -> None:
        now = self._clock.monotonic()
        if now - self._beat_at > UNBROKEN_SECONDS / 2:
            self._unbroken_since = now
        may_close = now - self._unbroken_since >= UNBROKEN_SECONDS
        was_dead, live = await self._leases.beat(self._replica, may_close=may_close)
        self._beat_at = self._clock.monotonic()
        if was_dead:
            log.warning("replica_was_taken_for_dead", extra={"fields": {"replica": self._replica}})
            self._lender.forget_grants()
            await self._leases.join(self._replica)
            live = sorted({*live, self._replica})
        rank = live.index(self._replica) if self._replica in live else 0
        # Workers that start together do not all see each other yet.
        self._place = (rank, max(1, self._workers, len(live)))
        self._limits.place(*self._place, self._clock.monotonic())
