"""Works that run beside each other, each in a task of its own."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

Work = Callable[[], Coroutine[Any, Any, None]]

_log = logging.getLogger(__name__)


class Turns:
    """Works by name: none waits for another, and none of one name runs beside itself. Belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: dict[str, Work] = {}

    def begin(self, name: str, work: Work) -> None:
        """Begins a work. While one of this name is in hand it is noted, and begun when that has ended."""
        if name in self._tasks:
            self._again[name] = work
            return
        task = self._tasks[name] = asyncio.create_task(work(), name=name)
        task.add_done_callback(partial(self._ended, name))

    def names(self) -> tuple[str, ...]:
        """The works in hand."""
        return tuple(self._tasks)

    async def finish(self) -> None:
        """Waits for the works in hand; what was noted is not begun any more."""
        self._again.clear()
        while self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))

    async def cancel(self, names: Iterable[str] | None = None) -> None:
        """Cuts works off, all or those of these names, and waits until they are."""
        ending = []
        for name in self.names() if names is None else names:
            self._again.pop(name, None)
            if name in self._tasks:
                self._tasks[name].cancel()
                ending.append(self._tasks[name])
        await asyncio.gather(*ending, return_exceptions=True)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            # Nobody awaits it; a work that fails unforeseen is begun again at its next turn, and others go on.
            _log.error("pass_failed name=%s", name, exc_info=fault)
        again = self._again.pop(name, None)
        if again is not None:
            self.begin(name, again)
