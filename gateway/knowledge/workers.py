"""The threads in which documents are cut, written and searched, so that the event loop stays free."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

THREADS = 4


class Workers:
    """A few threads of its own: the store keeps one connection for each, and close waits for all of them."""

    def __init__(self, threads: int = THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="knowledge")

    async def run(self, work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """The result of `work`, or what it raised. A cancelled caller leaves it running to its end."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def finish(self) -> None:
        """Waits, off the loop, for work in hand; what is queued is dropped."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
