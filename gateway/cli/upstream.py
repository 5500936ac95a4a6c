"""`gateway upstream offline`: the bundled upstream, for rehearsals without a key."""

import os
import threading
import time
from pathlib import Path

from cyclopts import App

from gateway.cli.output import say


def register(app: App) -> None:
    """Adds the command."""
    group = App(name="upstream", help="Upstreams that come with the gateway.")
    group.command(offline)
    app.command(group)


def offline(
    *,
    host: str = "127.0.0.1",
    port: int = 8089,
    key: str | None = None,
    bill: Path | None = None,
    with_parent: bool = False,
) -> None:
    """Runs the offline upstream: OpenAI's API, deterministic answers, faults on demand.

    port: 0 takes a free one. key: the one key it takes; any when not given. bill: a JSONL file of what it
    would have charged. with_parent: ends when the process that started it does.
    """
    from gateway.offline.server import run

    if with_parent:
        threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    run(host, port, key=key, bill_path=bill, announce=lambda url: say(f"offline upstream on {url}"))


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)
