"""Spent and reserved together never pass the limit, over any number of replicas; nothing stays reserved; nobody is
refused who could be paid."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.core.errors import BudgetExceeded, BudgetUnverifiable
from gateway.ledger.leases.lender import Lender
from gateway.ledger.leases.meters import Budgets, Meter
from gateway.ledger.leases.rules import team_budget
from tests.fakes.calls import NOON
from tests.fakes.pools import MemoryPools

WEB = Principal("support", "key_1", "web")


class Replica:
    """One process's side of a shared budget."""

    def __init__(self, name: str, pools: MemoryPools, limit: int) -> None:
        self.name = name
        self.pools = pools
        self.budgets = Budgets()
        self.budgets.define([team_budget("support", limit)])
        self.lender = Lender(self.budgets, pools, name, Clock(wall=lambda: NOON))

    @property
    def meter(self) -> Meter:
        (meter,) = self.budgets.meters(WEB, (), NOON)
        return meter

    async def reserve(self, amount: int) -> None:
        await self.lender.reserve((self.meter,), amount)

    def settle(self, reserved: int, cost: int) -> None:
        self.budgets.charge((self.meter,), cost)
        self.budgets.release((self.meter,), reserved)

    def ship(self) -> None:
        cost = self.meter.used - self.meter.shipped
        self.pools.ship(self.name, {self.meter.pool: cost})
        self.budgets.shipped({self.meter.pool: cost})


AMOUNTS = st.integers(0, 1_000)
# Each step: a replica reserves, settles a share of a call in flight, ships, fills up, looks, or is asked to give back.
STEPS = st.lists(st.tuples(st.sampled_from("rrrssShfg"), st.integers(0, 2), AMOUNTS), max_size=60)


@given(st.integers(0, 5_000), STEPS)
def test_no_order_of_calls_on_three_replicas_overshoots_or_refuses_what_could_be_paid(
    limit: int, steps: list[tuple[str, int, int]]
) -> None:
    asyncio.run(_play(limit, steps))


async def _play(limit: int, steps: list[tuple[str, int, int]]) -> None:
    pools = MemoryPools()
    replicas = [Replica(name, pools, limit) for name in "abc"]
    flying: list[tuple[Replica, int]] = []
    spent = 0
    for kind, which, amount in steps:
        replica = replicas[which]
        if kind == "r":
            held = sum(reserved for _, reserved in flying)
            fits = spent < limit and spent + held + amount <= limit
            asking = asyncio.create_task(replica.reserve(amount))
            while not asking.done():
                # The others go on as they do in the background.
                for other in replicas:
                    if other.meter.is_known and not other.meter.lock.locked():
                        await other.lender.give_back()
                await asyncio.sleep(0)
            try:
                await asking
                assert spent + held + amount <= limit, "let through what does not fit"
                flying.append((replica, amount))
            except BudgetExceeded:
                assert not fits, "refused what could be paid"
        elif kind in "sS" and flying:
            owner, reserved = flying.pop(amount % len(flying))
            cost = reserved * (amount % 101) // 100
            spent += cost
            owner.settle(reserved, cost)
            if kind == "S":
                owner.ship()
        elif kind == "f":
            await replica.lender.fill()
        elif kind == "g" and replica.meter.is_known:
            await replica.lender.give_back()
        elif kind == "h":
            await replica.lender.look()
        granted = sum(pool.held(name) for pool in pools.pools.values() for name in pool.granted)
        assert sum(pool.spent for pool in pools.pools.values()) + granted <= limit
    for owner, reserved in flying:
        owner.settle(reserved, 0)
    assert [replica.meter.reserved for replica in replicas] == [0, 0, 0]
    assert sum(replica.meter.used for replica in replicas) == spent


async def test_two_hundred_callers_on_eight_processes_spend_a_budget_to_the_last_call() -> None:
    """Four workers on two replicas; every call costs what it reserved, so exactly limit / cost calls are served."""
    cost, served = 1_000, 0
    pools = MemoryPools()
    replicas = [Replica(f"r{number}", pools, 150 * cost) for number in range(8)]
    chance = random.Random(20261124)

    async def caller(replica: Replica) -> None:
        nonlocal served
        try:
            await replica.reserve(cost)
        except BudgetExceeded:
            return
        await asyncio.sleep(chance.random() / 50)
        replica.settle(cost, cost)
        replica.ship()
        served += 1

    async def background(replica: Replica) -> None:
        while True:
            await asyncio.sleep(0.02)
            await replica.lender.give_back()

    keepers = [asyncio.create_task(background(replica)) for replica in replicas]
    await asyncio.gather(*(caller(replicas[number % 8]) for number in range(200)))
    for keeper in keepers:
        keeper.cancel()
    await asyncio.gather(*keepers, return_exceptions=True)
    assert served == 150
    assert {replica.meter.reserved for replica in replicas} == {0}


async def test_a_database_that_is_away_refuses_nobody_while_the_grant_lasts_and_never_with_429() -> None:
    pools = MemoryPools()
    replica = Replica("a", pools, 1_000)
    await replica.reserve(100)
    pools.away = True
    await replica.reserve(100)
    with pytest.raises(BudgetUnverifiable) as caught:
        await replica.reserve(500)
    assert caught.value.status == 503


async def test_a_grant_is_asked_for_ahead_of_need_and_not_for_each_call() -> None:
    pools = MemoryPools()
    replica = Replica("a", pools, 1_000_000)
    await replica.lender.fill()
    before = pools.exchanges
    for _ in range(200):
        await replica.reserve(1_000)
        replica.settle(1_000, 1_000)
        await replica.lender.fill()
    assert pools.exchanges - before < 20
