"""Budget pools in memory, shared by as many replicas as a test has; passes the same contract as the database's."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.ledger.leases.store import PART, SCARCE, Granted, Request, Seen


@dataclass
class Pool:
    spent: int = 0
    wanted: int = 0
    told: set[int] = field(default_factory=set)
    granted: dict[str, int] = field(default_factory=dict)
    shipped: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def held(self, replica: str) -> int:
        return max(0, self.granted[replica] - self.shipped[replica])


class MemoryPools:
    """All pools. away: every call raises as a database does that is gone."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.replicas: set[str] = set()
        self.away = False
        self.exchanges = 0

    def _ask(self) -> None:
        if self.away:
            raise ConnectionRefusedError("the database is away")

    async def exchange(self, replica: str, requests: Sequence[Request]) -> list[Granted]:
        self._ask()
        self.exchanges += 1
        self.replicas.add(replica)
        return [self._exchange(replica, request) for request in requests]

    def _exchange(self, replica: str, request: Request) -> Granted:
        pool = self.pools.setdefault(request.pool, Pool())
        for amounts in (pool.granted, pool.shipped, pool.seen):
            amounts.setdefault(replica, 0)
        others = sum(pool.held(other) for other in pool.granted if other != replica)
        granted = request.owed if request.gives_back else max(pool.granted[replica], request.owed)
        pool.granted[replica] = granted
        asked = 0
        if request.gives_back:
            pool.seen[replica] = pool.wanted
        if request.rule.is_hard and request.want is not None:
            left = request.rule.limit_nano_usd - pool.spent - others - pool.held(replica)
            need = request.owed + request.want - granted
            if need <= left:
                ahead = left // (PART * len(self.replicas)) if left > request.rule.limit_nano_usd // SCARCE else 0
                pool.granted[replica] += max(0, need, min(left, max(request.owed + request.hopes - granted, ahead)))
            elif others and request.asks:
                asked = request.asked
                if not asked:
                    pool.wanted += 1
                    asked = pool.seen[replica] = pool.wanted
        waits = [one for one in pool.granted if one != replica and pool.held(one) and pool.seen[one] < asked]
        return Granted(pool.granted[replica], pool.spent, others, pool.shipped[replica], len(waits), asked)

    async def look(self, replica: str, pools: Sequence[str]) -> list[Seen]:
        self._ask()
        found = [(name, self.pools[name]) for name in pools if replica in self.pools.get(name, Pool()).granted]
        return [Seen(name, pool.spent, pool.shipped[replica], pool.wanted > pool.seen[replica]) for name, pool in found]

    async def wanted(self, replica: str) -> list[str]:
        self._ask()
        return [name for name, pool in self.pools.items() if pool.wanted > pool.seen.get(replica, pool.wanted)]

    async def told(self, pool: str, percent: int, tell: Callable[[Any], Awaitable[None]]) -> bool:
        self._ask()
        told = self.pools[pool].told
        if percent in told:
            return False
        told.add(percent)
        await tell(None)
        return True

    def ship(self, replica: str, costs: dict[str, int]) -> None:
        """What the shipper does in the database: rows have arrived."""
        for name, cost in costs.items():
            pool = self.pools[name]
            pool.spent += cost
            pool.shipped[replica] += cost
