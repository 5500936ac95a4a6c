import asyncio

from gateway.upstream.pool import Pool
from gateway.upstream.port import Origin

HERE = Origin("http", "here", 80)


class Plug:
    """A connection without a socket."""

    def __init__(self, pool: "Pool[Plug]", origin: Origin = HERE) -> None:
        self.origin = origin
        self.idle_until = 0.0
        self.is_clean = True
        self.is_closed = False
        self._pool = pool
        pool.add(self)

    def close(self) -> None:
        self.is_closed = True
        self._pool.forget(self)


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


async def test_newest_idle_connection_goes_first() -> None:
    """So that those which are not needed grow old and are closed."""
    pool: Pool[Plug] = Pool()
    first, second = Plug(pool), Plug(pool)
    pool.put(first)
    pool.put(second)
    assert pool.take(HERE) is second
    assert (pool.active_count, pool.idle_count) == (1, 1)
    pool.close()


async def test_origins_that_differ_in_anything_share_nothing() -> None:
    pool: Pool[Plug] = Pool()
    pool.put(Plug(pool))
    others = [
        Origin("https", "here", 80),
        Origin("http", "there", 80),
        Origin("http", "here", 81),
        Origin("http", "here", 80, verify=False),
        Origin("http", "here", 80, ca_file="/a.pem"),
    ]
    assert [pool.take(origin) for origin in others] == [None] * 5
    assert pool.take(Origin("http", "here", 80)) is not None
    pool.close()


async def test_unclean_connection_is_closed_when_its_turn_comes() -> None:
    pool: Pool[Plug] = Pool()
    good, bad = Plug(pool), Plug(pool)
    pool.put(good)
    pool.put(bad)
    bad.is_clean = False
    assert pool.take(HERE) is good
    assert bad.is_closed
    assert (pool.active_count, pool.idle_count) == (1, 0)
    pool.close()


async def test_old_connection_is_not_given() -> None:
    clock = Hand()
    pool: Pool[Plug] = Pool(max_age_seconds=30, now=clock)
    plug = Plug(pool)
    pool.put(plug)
    clock.at += 30
    assert pool.take(HERE) is None
    assert plug.is_closed


async def test_promise_of_the_upstream_is_kept_a_second_short() -> None:
    clock = Hand()
    pool: Pool[Plug] = Pool(max_age_seconds=30, now=clock)
    plug = Plug(pool)
    pool.put(plug, keep_seconds=5)
    clock.at += 3.9
    assert pool.take(HERE) is plug
    pool.put(plug, keep_seconds=5)
    clock.at += 4.1
    assert pool.take(HERE) is None


async def test_promise_of_a_second_or_less_is_no_promise() -> None:
    pool: Pool[Plug] = Pool()
    plug = Plug(pool)
    pool.put(plug, keep_seconds=1)
    assert plug.is_closed
    assert pool.idle_count == pool.active_count == 0


async def test_idle_connections_past_the_limit_are_closed() -> None:
    pool: Pool[Plug] = Pool(max_idle=2)
    plugs = [Plug(pool) for _ in range(3)]
    for plug in plugs:
        pool.put(plug)
    assert [plug.is_closed for plug in plugs] == [False, False, True]
    assert pool.idle_count == 2
    pool.close()


async def test_sweep_closes_the_old_and_keeps_the_young() -> None:
    clock = Hand()
    pool: Pool[Plug] = Pool(max_age_seconds=30, now=clock)
    old, young = Plug(pool), Plug(pool)
    pool.put(old)
    clock.at += 20
    pool.put(young)
    clock.at += 15
    pool.sweep()
    assert old.is_closed
    assert not young.is_closed
    pool.close()


async def test_sweep_runs_by_itself() -> None:
    """An upstream that is not called again must not hold sockets for ever."""
    pool: Pool[Plug] = Pool(max_age_seconds=0.05)
    plug = Plug(pool)
    pool.put(plug)
    async with asyncio.timeout(5):
        while not plug.is_closed:
            await asyncio.sleep(0.02)
    assert pool.idle_count == 0


async def test_close_reaches_idle_and_active() -> None:
    pool: Pool[Plug] = Pool()
    idle, active = Plug(pool), Plug(pool)
    pool.put(idle)
    pool.close()
    assert idle.is_closed
    assert active.is_closed
    assert pool.idle_count == pool.active_count == 0
