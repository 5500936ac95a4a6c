"""Rate limits with a Redis beside them, and without it again: never more than the limit, however many replicas."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.call import Principal
from gateway.core.clock import Clock
from gateway.core.errors import BadConfiguration, RateLimited
from gateway.ledger.leases.borrow import Borrower, Move
from gateway.ledger.leases.limits import Limits
from gateway.ledger.leases.pot import Pot
from gateway.ledger.leases.rules import LimitRule
from tests.fakes.running_gateway import free_port

WEB = Principal("support", "key_1", "web")
LIMIT = 600
REPLICAS = 4


class Redis:
    """A real server on a free port."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            pytest.skip("no redis-server or valkey-server on this machine; .ci/run installs one")
        self.port = free_port()
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.kill()


class Replica:
    """One process's limits. Its clock is turned by hand, so that a minute need not pass."""

    def __init__(self, rank: int, pot: Pot) -> None:
        self.now = 0.0
        self.limits = Limits()
        self.limits.define([LimitRule("team", "support", requests_per_minute=LIMIT)], 0.0)
        self.limits.place(rank, REPLICAS, 0.0)
        self.borrower = Borrower(self.limits, pot, Clock(monotonic=lambda: self.now))
        self.entered = 0

    def enter(self, most: int) -> None:
        for _ in range(most):
            try:
                self.limits.enter(self.limits.gates(WEB), 0, self.now)
            except RateLimited:
                return
            self.entered += 1


async def replicas(redis: Redis) -> list[Replica]:
    pots = [Pot(redis.url) for _ in range(REPLICAS)]
    deadline = time.monotonic() + 10
    while True:
        try:
            await pots[0].move({"nothing": Move(0.0, 0.0, 1.0)})
            break
        except OSError:
            assert time.monotonic() < deadline, "the server does not answer"
            await asyncio.sleep(0.05)
    return [Replica(rank, pot) for rank, pot in enumerate(pots)]


async def minute(all_of: list[Replica], busy: list[Replica]) -> None:
    """Sixty seconds in which the busy ones take all they get."""
    for _ in range(120):
        for replica in all_of:
            replica.now += 0.5
            if replica in busy:
                replica.enter(LIMIT)
            await replica.borrower.pass_once()


async def test_one_busy_replica_gets_what_the_others_do_not_use_and_never_more_than_the_limit(redis: Redis) -> None:
    found = await replicas(redis)
    await minute(found, busy=found[:1])
    began = found[0].entered
    await minute(found, busy=found[:1])
    alone = found[0].entered - began
    assert alone > 0.8 * LIMIT
    assert alone <= LIMIT


async def test_all_replicas_together_stay_within_the_limit(redis: Redis) -> None:
    found = await replicas(redis)
    await minute(found, busy=found)
    began = sum(replica.entered for replica in found)
    await minute(found, busy=found)
    assert sum(replica.entered for replica in found) - began <= LIMIT


async def test_without_it_each_replica_has_its_part_and_calls_wait_for_nobody(redis: Redis) -> None:
    """Rivals let every replica have the whole limit then: N times as much."""
    found = await replicas(redis)
    await minute(found, busy=found[:1])
    redis.kill()
    await minute(found, busy=found)
    began = [replica.entered for replica in found]
    await minute(found, busy=found)
    for replica, before in zip(found, began, strict=True):
        assert replica.entered - before <= LIMIT // REPLICAS
    redis.start()
    for replica in found:
        replica.now += 60
    await minute(found, busy=found[:1])
    alone = found[0].entered
    await minute(found, busy=found[:1])
    assert found[0].entered - alone > 0.8 * LIMIT


def test_an_address_of_another_kind_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(BadConfiguration, match="GATEWAY_REDIS_URL"):
        Pot("http://127.0.0.1")
