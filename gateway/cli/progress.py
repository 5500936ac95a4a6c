"""How far a long command is: a bar on a terminal, a line now and then anywhere else."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_SECONDS = 5.0


@contextmanager
def progress_of(*, is_shown: bool) -> Iterator[Callable[[str, int], None] | None]:
    """What to call with a collection and the documents looked at so far; None when nothing is to be shown.

    It writes to standard error, so that what the command prints stays what it is.
    """
    if not is_shown:
        yield None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield _lines()


def _bar() -> Iterator[Callable[[str, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    # How many there will be is known when all are read: the bar moves, and the count says how far.
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        tasks = {}

        def told(collection: str, count: int) -> None:
            if collection not in tasks:
                tasks[collection] = bar.add_task(collection, total=None, told="")
            bar.update(tasks[collection], told=f"{count:,} documents")

        yield told


def _lines() -> Callable[[str, int], None]:
    last = time.monotonic()

    def told(collection: str, count: int) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            sys.stderr.write(f"{collection}: {count:,} documents so far\n")
            sys.stderr.flush()

    return told
