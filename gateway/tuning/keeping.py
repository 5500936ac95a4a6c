"""Keeps the examples of training files embedded."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from gateway.core.errors import GatewayError
from gateway.tuning.tasks import Tasks

AGAIN_SECONDS = 15.0

log = logging.getLogger("gateway.tuning")


async def keep_prepared(
    tasks_now: Callable[[], Tasks], replaced: asyncio.Event, booked: Callable[[Tasks, int | None], None]
) -> None:
    """Has the examples of training files embedded, those of each policy anew; words serve until then.

    replaced: set when `tasks_now` gives others. booked: told the tokens that it took. Ends only by cancellation.
    """
    while True:
        replaced.clear()
        tasks = tasks_now()
        try:
            await tasks.prepare(partial(booked, tasks))
            await replaced.wait()
        except (GatewayError, ValueError, OSError) as fault:
            log.warning("examples_not_embedded", extra={"fields": {"error": str(fault)[:200]}})
            await asyncio.sleep(AGAIN_SECONDS)
