"""Noticing saved files."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from watchfiles import awatch

TICK_SECONDS = 0.3
STEP_MS = 30
DEBOUNCE_MS = 200


async def notice(folders: Sequence[Path], stop: asyncio.Event) -> AsyncIterator[tuple[Path, ...]]:
    """Changed paths some 50 ms after a save; `()` after each 0.3 s of quiet.

    What is told is a hint and not the truth: events get lost on network mounts and full queues, and an atomic
    save shows as a rename. Whoever listens compares the files themselves, and all of them now and then.
    Ends when `stop` is set. The folders must exist.
    """
    if not folders:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
            yield ()
        return
    events = awatch(
        *folders,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        stop_event=stop,
        rust_timeout=int(TICK_SECONDS * 1000),
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    async for changes in events:
        yield tuple(Path(path) for _, path in changes)
