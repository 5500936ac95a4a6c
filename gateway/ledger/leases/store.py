"""Budgets in the database, and what replicas have taken of them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table, case, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.core.clock import DAY_SECONDS, utc_day
from gateway.core.event import UsageEvent
from gateway.core.values import Value
from gateway.db.bulk import add_up
from gateway.db.engine import Database
from gateway.ledger.leases.rules import EVER, FAR, BudgetRule, Period
from gateway.ledger.leases.tables import LeaseRow, OpenIntentRow, PoolRow, ReplicaRow
from gateway.ledger.tables import AdjustmentRow, RollupRow, UsageEventRow

_EVENTS: Table = UsageEventRow.__table__  # type: ignore[attr-defined]  # SQLModel adds it at run time
_ADJUSTMENTS: Table = AdjustmentRow.__table__  # type: ignore[attr-defined]  # the same
_ROLLUPS: Table = RollupRow.__table__  # type: ignore[attr-defined]  # the same
_POOLS: Table = PoolRow.__table__  # type: ignore[attr-defined]  # the same
_LEASES: Table = LeaseRow.__table__  # type: ignore[attr-defined]  # the same
_REPLICAS: Table = ReplicaRow.__table__  # type: ignore[attr-defined]  # the same
_INTENTS: Table = OpenIntentRow.__table__  # type: ignore[attr-defined]  # the same

# `starts_at` of a pool that a row has made before anybody asked for it.
UNKNOWN = -1.0
# A replica takes this part of what is left, divided by how many replicas there are: enough to go on for long
# without asking, and not so much that the others must ask it to give back.
PART = 4
# When less than this part of a budget is left, nothing is taken ahead of need.
SCARCE = 8
# A process that has not been heard of for this long is dead, and its leases come back.
DEAD_SECONDS = 60.0


class Request(Value, frozen=True):
    """What a replica asks of a pool.

    owed: what its calls have cost over the period and what is set aside for those in flight. want: how much more it
    needs now; None just looks. hopes: what it would like in all. asks: others are to give back when there is too
    little. asked: what an earlier request for the same got as `asked`, 0 for the first. gives_back: it keeps only what
    it needs, and has seen that others want. is_fresh: this replica has just heard of the budget, or heard of it anew.
    """

    rule: BudgetRule
    pool: str
    starts_at: float
    ends_at: float
    owed: int
    want: int | None = None
    asks: bool = False
    asked: int = 0
    hopes: int = 0
    gives_back: bool = False
    is_fresh: bool = False


class Granted(Value, frozen=True):
    """How a pool stands after a request, in nano-dollars.

    spent: by rows of everybody. others: what other replicas hold and have no rows for. shipped: the part of `spent`
    that is this replica's. asked: the number of the question to the others, 0 when none was put. waits: live replicas
    that have not answered it yet by giving back what they do not need.
    """

    granted: int
    spent: int
    others: int
    shipped: int
    waits: int
    asked: int = 0


class Seen(Value, frozen=True):
    """How a pool stands: `spent` by everybody's rows, `shipped` of this replica's; is_wanted: others ask for more."""

    pool: str
    spent: int
    shipped: int
    is_wanted: bool


class LeaseStore:
    """Pools, leases, replicas and their intents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def exchange(self, replica: str, requests: Sequence[Request]) -> list[Granted]:
        """Takes from pools, or gives back, in one transaction; one answer for each request, in their order."""
        order = sorted(range(len(requests)), key=lambda place: requests[place].pool)
        found: dict[int, Granted] = {}
        async with self._database.session() as session:
            # Takes SQLite's write lock, and says that this replica lives.
            await session.execute(update(_REPLICAS).where(_REPLICAS.c.id == replica).values(seen_at=self._now()))
            live = (await session.execute(_count_live())).scalar_one()
            for place in order:
                found[place] = await self._exchange(session, replica, requests[place], max(1, live))
        return [found[place] for place in range(len(requests))]

    async def _exchange(self, session: AsyncSession, replica: str, request: Request, live: int) -> Granted:
        pool = await self._pool(session, request)
        own = await self._lease(session, request.pool, replica)
        spent = pool.base_nano_usd + pool.spent_nano_usd
        others = await self._others(session, request.pool, replica)
        granted = request.owed if request.gives_back else max(own.granted_nano_usd, request.owed)
        seen = pool.wanted if request.gives_back else own.seen
        asked = waits = 0
        if request.rule.is_hard and request.want is not None:
            left = request.rule.limit_nano_usd - spent - others - max(0, granted - own.shipped_nano_usd)
            need = request.owed + request.want - granted
            if need <= left:
                # What is ahead of need goes to whoever asks first; near the end only what is needed is granted.
                ahead = left // (PART * live) if left > request.rule.limit_nano_usd // SCARCE else 0
                granted += max(0, need, min(left, max(request.owed + request.hopes - granted, ahead)))
            elif others and request.asks:
                asked = request.asked
                if not asked:
                    seen = asked = pool.wanted + 1
                    await session.execute(update(_POOLS).where(_POOLS.c.id == request.pool).values(wanted=asked))
                # Answers to one's own question count: under load somebody always has a newer one.
                waits = await self._waiting(session, request.pool, replica, asked)
        mine = (_LEASES.c.pool_id == request.pool) & (_LEASES.c.replica == replica)
        await session.execute(update(_LEASES).where(mine).values(granted_nano_usd=granted, seen=seen))
        return Granted(granted, spent, others, own.shipped_nano_usd, waits, asked)

    async def _pool(self, session: AsyncSession, request: Request) -> Any:
        query = select(_POOLS).where(_POOLS.c.id == request.pool).with_for_update()
        found = (await session.execute(query)).first()
        if found is None:
            row = _pool_row(request.pool, UNKNOWN)
            await session.execute(
                self._database.insert(_POOLS).values(row).on_conflict_do_nothing(index_elements=["id"])
            )
            found = (await session.execute(query)).one()
        # A pool that the first row made has no base yet; one of a budget that was lifted and is set again has an old
        # one. Of metadata only rows know, and are asked once: by the day they cannot be summed.
        if found.starts_at == UNKNOWN or (request.is_fresh and request.rule.scope != "metadata"):
            period = Period(EVER, request.starts_at, request.ends_at)
            base = await self._spent(session, request.rule, period) - found.spent_nano_usd
            if (base, request.starts_at) != (found.base_nano_usd, found.starts_at):
                values = {"base_nano_usd": base, "starts_at": request.starts_at}
                await session.execute(update(_POOLS).where(_POOLS.c.id == request.pool).values(values))
                found = (await session.execute(query)).one()
        return found

    async def spent_by_rows(self, rule: BudgetRule, period: Period) -> int:
        """What the rows of a period have cost that a budget is for, with their corrections, in nano-dollars."""
        async with self._database.session() as session:
            return await self._spent(session, rule, period)

    async def _spent(self, session: AsyncSession, rule: BudgetRule, period: Period) -> int:
        """From sums by UTC day, which are kept when rows are dropped; from rows for parts of days, and for metadata."""
        if rule.scope == "metadata":
            return await self._of_rows(session, rule, period.starts_at, period.ends_at)
        first = -(-period.starts_at // DAY_SECONDS) * DAY_SECONDS
        last = max(first, period.ends_at // DAY_SECONDS * DAY_SECONDS)
        sums = _ROLLUPS.c
        whose = {"organisation": sums.organisation, "team": sums.team, "key": sums.key_id}[rule.scope] == rule.name
        query = select(func.sum(sums.cost_nano_usd + sums.adjusted_nano_usd)).where(whose)
        query = query.where(sums.day >= _day(first), sums.day < _day(last))
        whole = int((await session.execute(query)).scalar_one() or 0)
        before = await self._of_rows(session, rule, period.starts_at, min(first, period.ends_at))
        after = await self._of_rows(session, rule, last, period.ends_at) if last >= first else 0
        return whole + before + after

    async def _of_rows(self, session: AsyncSession, rule: BudgetRule, starts_at: float, ends_at: float) -> int:
        if starts_at >= ends_at:
            return 0
        of_period = (_EVENTS.c.at >= starts_at) & (_EVENTS.c.at < ends_at)
        if rule.scope == "metadata":
            key, _, value = rule.name.partition("=")
            whose = self._metadata(key) == value
        else:
            of = {"organisation": _EVENTS.c.organisation, "team": _EVENTS.c.team, "key": _EVENTS.c.key_id}
            whose = of[rule.scope] == rule.name
        cost = select(func.sum(_EVENTS.c.cost_nano_usd)).where(of_period, whose)
        later = select(func.sum(_ADJUSTMENTS.c.delta_nano_usd))
        later = later.join(_EVENTS, _EVENTS.c.id == _ADJUSTMENTS.c.event_id).where(of_period, whose)
        return sum([int((await session.execute(query)).scalar_one() or 0) for query in (cost, later)])

    def _metadata(self, key: str) -> Any:
        if self._database.dialect == "postgresql":
            return cast(_EVENTS.c.metadata, JSONB)[key].astext
        return func.json_extract(_EVENTS.c.metadata, f'$."{key}"')

    async def _lease(self, session: AsyncSession, pool: str, replica: str) -> Any:
        query = select(_LEASES).where(_LEASES.c.pool_id == pool, _LEASES.c.replica == replica).with_for_update()
        found = (await session.execute(query)).first()
        if found is not None:
            return found
        await session.execute(self._database.insert(_LEASES).values(_lease_row(pool, replica)).on_conflict_do_nothing())
        return (await session.execute(query)).one()

    async def _others(self, session: AsyncSession, pool: str, replica: str) -> int:
        held = _LEASES.c.granted_nano_usd - _LEASES.c.shipped_nano_usd
        query = select(func.sum(case((held > 0, held), else_=0)))
        query = query.where(_LEASES.c.pool_id == pool, _LEASES.c.replica != replica)
        return int((await session.execute(query)).scalar_one() or 0)

    async def _waiting(self, session: AsyncSession, pool: str, replica: str, asked: int) -> int:
        query = select(func.count()).select_from(_LEASES).join(_REPLICAS, _REPLICAS.c.id == _LEASES.c.replica)
        held = _LEASES.c.granted_nano_usd > _LEASES.c.shipped_nano_usd
        query = query.where(_LEASES.c.pool_id == pool, _LEASES.c.replica != replica, held)
        query = query.where(_LEASES.c.seen < asked, _REPLICAS.c.closed_at.is_(None))
        return int((await session.execute(query)).scalar_one())

    async def look(self, replica: str, pools: Sequence[str]) -> list[Seen]:
        """How these pools stand; pools that nobody has asked for yet are left out."""
        spent = (_POOLS.c.base_nano_usd + _POOLS.c.spent_nano_usd).label("spent")
        query = select(_POOLS.c.id, spent, _POOLS.c.wanted, _LEASES.c.shipped_nano_usd, _LEASES.c.seen)
        query = query.join(_LEASES, (_LEASES.c.pool_id == _POOLS.c.id) & (_LEASES.c.replica == replica))
        found: list[Seen] = []
        async with self._database.session() as session:
            for start in range(0, len(pools), 500):
                rows = await session.execute(query.where(_POOLS.c.id.in_(pools[start : start + 500])))
                found += [Seen(row[0], int(row[1]), int(row[3]), row[2] > row[4]) for row in rows]
        return found

    async def wanted(self, replica: str) -> list[str]:
        """The pools that others want more of, and that this replica has not given back to since."""
        query = select(_LEASES.c.pool_id).join(_POOLS, _POOLS.c.id == _LEASES.c.pool_id)
        query = query.where(_LEASES.c.replica == replica, _POOLS.c.wanted > _LEASES.c.seen)
        async with self._database.session() as session:
            return list((await session.execute(query)).scalars())

    async def charge(
        self,
        session: AsyncSession,
        events: Iterable[UsageEvent],
        replica: str,
        corrections: Iterable[tuple[Sequence[str], int]] = (),
    ) -> None:
        """Adds what new rows have cost to the pools that they name, in the transaction that adds the rows.

        corrections: pools of rows that another replica has booked, and what this one's own end adds to their cost.
        """
        costs: dict[str, int] = {}
        charged = [(event.pools, event.cost_nano_usd or 0) for event in events]
        for pools, cost in [*charged, *corrections]:
            for pool in pools:
                costs[pool] = costs.get(pool, 0) + cost
        await self.charge_pools(session, costs, replica)

    async def charge_pools(self, session: AsyncSession, costs: Mapping[str, int], replica: str = "") -> None:
        """Adds amounts to pools, and to the part of them that `replica` has shipped."""
        told = {pool: cost for pool, cost in costs.items() if cost}
        pools = [_pool_row(pool, UNKNOWN) | {"spent_nano_usd": cost} for pool, cost in told.items()]
        await add_up(session, _POOLS, pools, ("id",), ("spent_nano_usd",))
        if replica:
            leases = [_lease_row(pool, replica) | {"shipped_nano_usd": cost} for pool, cost in told.items()]
            await add_up(session, _LEASES, leases, ("pool_id", "replica"), ("shipped_nano_usd",))

    async def told(self, pool: str, percent: int, tell: Callable[[AsyncSession], Any]) -> bool:
        """Says once, for all replicas, that a pool has passed a threshold. tell: adds its message."""
        async with self._database.session() as session:
            if self._database.dialect == "sqlite":
                await session.execute(update(_POOLS).where(_POOLS.c.id == pool).values(told=_POOLS.c.told))
            row = (await session.execute(select(_POOLS.c.told).where(_POOLS.c.id == pool).with_for_update())).first()
            done = [] if row is None else row[0].split(",")
            if row is None or str(percent) in done:
                return False
            marks = ",".join([*filter(None, done), str(percent)])
            await session.execute(update(_POOLS).where(_POOLS.c.id == pool).values(told=marks))
            await tell(session)
            return True

    # Replicas.

    async def join(self, replica: str) -> None:
        """Says that a replica serves."""
        now = self._now()
        async with self._database.session() as session:
            row = {"id": replica, "started_at": now, "seen_at": now, "closed_at": None}
            insert = self._database.insert(_REPLICAS).values(row)
            await session.execute(
                insert.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now, "closed_at": None})
            )

    async def beat(self, replica: str, *, may_close: bool) -> tuple[bool, list[str]]:
        """Says that a replica lives. Gives whether it was taken for dead meanwhile, and all live ones, sorted.

        may_close: those that have not been heard of for DEAD_SECONDS are closed, and their leases come back. Only for
        who knows that the database was there all the time: after an outage everybody has been silent.
        """
        now = self._now()
        alive = _REPLICAS.c.closed_at.is_(None)
        async with self._database.session() as session:
            mine = update(_REPLICAS).where(_REPLICAS.c.id == replica, alive).values(seen_at=now)
            is_dead = (await session.execute(mine)).rowcount == 0  # type: ignore[attr-defined]  # a cursor's result
            silent = select(_REPLICAS.c.id).where(alive, _REPLICAS.c.seen_at < now - DEAD_SECONDS)
            for dead in list((await session.execute(silent)).scalars()) if may_close else ():
                await self._close(session, dead)
            live = list((await session.execute(select(_REPLICAS.c.id).where(alive))).scalars())
        return is_dead, sorted(live)

    async def close(self, replica: str) -> None:
        """Gives back what a replica holds: it has ended, and all its rows are in the database."""
        async with self._database.session() as session:
            await self._close(session, replica)

    async def _close(self, session: AsyncSession, replica: str) -> None:
        await session.execute(
            update(_REPLICAS).where(_REPLICAS.c.id == replica).values(closed_at=self._now(), seen_at=self._now())
        )
        await session.execute(
            update(_LEASES).where(_LEASES.c.replica == replica).values(granted_nano_usd=_LEASES.c.shipped_nano_usd)
        )

    # Intents, where the operator wants them in the database before a call.

    async def intend(self, replica: str, records: Mapping[str, bytes]) -> None:
        """Keeps intents, by the id of their attempt."""
        rows = [{"id": key, "replica": replica, "record": record} for key, record in sorted(records.items())]
        async with self._database.session() as session:
            await session.execute(self._database.insert(_INTENTS).on_conflict_do_nothing(index_elements=["id"]), rows)

    async def settle_intents(self, session: AsyncSession, ids: Sequence[str]) -> None:
        """Drops the intents of attempts that have ended, in the transaction that adds their rows."""
        for start in range(0, len(ids), 500):
            await session.execute(delete(_INTENTS).where(_INTENTS.c.id.in_(ids[start : start + 500])))

    async def orphans(self) -> list[tuple[str, str, bytes]]:
        """Intents of replicas that are closed: id, replica, record."""
        query = select(_INTENTS.c.id, _INTENTS.c.replica, _INTENTS.c.record)
        query = query.join(_REPLICAS, _REPLICAS.c.id == _INTENTS.c.replica).where(_REPLICAS.c.closed_at.is_not(None))
        async with self._database.session() as session:
            return [(row[0], row[1], bytes(row[2])) for row in await session.execute(query)]

    def _now(self) -> Any:
        # Replicas' own clocks may differ by minutes; on SQLite all are on one machine.
        if self._database.dialect == "postgresql":
            return func.extract("epoch", func.clock_timestamp())
        return time.time()


def _day(at: float) -> str:
    return utc_day(min(at, FAR - DAY_SECONDS)).isoformat()


def _count_live() -> Any:
    return select(func.count()).select_from(_REPLICAS).where(_REPLICAS.c.closed_at.is_(None))


def _pool_row(pool: str, starts_at: float) -> dict[str, Any]:
    budget = pool.rpartition("@")[0]
    sums = {"base_nano_usd": 0, "spent_nano_usd": 0, "wanted": 0}
    return {"id": pool, "budget_id": budget, "starts_at": starts_at, "told": "", **sums}


def _lease_row(pool: str, replica: str) -> dict[str, Any]:
    return {"pool_id": pool, "replica": replica, "granted_nano_usd": 0, "shipped_nano_usd": 0, "seen": 0}
