"""What replicas do not use of their part of a limit, for those that need more: kept in Redis or Valkey.

Only what a replica has of its own part is ever put in, and only what is in is taken out. So the sum stays within the
limit whatever happens to the pot; when it is lost, each replica has its part and nothing else.
"""

from collections.abc import Mapping
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from gateway.core.errors import BadConfiguration
from gateway.ledger.leases.borrow import Move

SECONDS = 0.25
# What nobody takes for a minute is gone: a limit is one of a minute.
KEPT_SECONDS = 60
PREFIX = "gateway:limit:"
MOVE = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
left = math.min(left + tonumber(ARGV[1]), tonumber(ARGV[3]))
local got = math.max(0, math.min(left, tonumber(ARGV[2])))
redis.call('SET', KEYS[1], tostring(left - got), 'EX', ARGV[4])
return tostring(got)
"""


class Pot:
    """One connection pool. url: `redis://...` or `rediss://...`. Raises BadConfiguration for a URL of another kind."""

    def __init__(self, url: str) -> None:
        try:
            self._client: Any = redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
        except ValueError as fault:
            raise BadConfiguration([f"GATEWAY_REDIS_URL: {fault}"]) from None
        self._move: Any = self._client.register_script(MOVE)

    async def move(self, moves: Mapping[str, Move]) -> dict[str, float]:
        """Puts in and takes out, by the name of the limit; gives what came out. Raises OSError when it is away."""
        try:
            async with self._client.pipeline(transaction=False) as batch:
                for name, move in moves.items():
                    arguments = [repr(move.give), repr(move.want), repr(move.most), KEPT_SECONDS]
                    await self._move(keys=[PREFIX + name], args=arguments, client=batch)
                found = await batch.execute()
        except RedisError as fault:
            raise ConnectionError(f"Redis: {type(fault).__name__}") from fault
        return {name: float(got) for name, got in zip(moves, found, strict=True)}

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()
