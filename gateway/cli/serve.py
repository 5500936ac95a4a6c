"""`gateway serve`: the gateway itself."""

import os
from pathlib import Path

from cyclopts import App

from gateway.cli.listen import WORKER
from gateway.cli.output import say
from gateway.cli.place import make_data_folder, settings
from gateway.core.settings import Settings, environment


def register(app: App) -> None:
    """Adds the command."""
    app.command(serve)


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    policies: Path | None = None,
    data: Path | None = None,
    check: bool = False,
    quickstart: bool = False,
    access_log: bool = True,
) -> int:
    """Serves the gateway until SIGTERM, which drains it.

    check: validate settings and policy files, and exit. quickstart: a sample team and key, and the bundled
    offline upstream when no OPENAI_API_KEY is set.
    """
    found = settings(host=host, port=port, workers=workers, policies=policies, data=data)
    if check:
        return _check(found)
    make_data_folder(found)
    worker = os.environ.get(WORKER)
    if quickstart and worker is None:
        from gateway.cli import quickstart as sample

        found = sample.prepare(found)
    if worker is None and found.workers > 1:
        from gateway.cli.workers import supervise

        return supervise(found, access_log=access_log)
    from gateway.cli.process import serve_process

    return serve_process(found, worker=int(worker or 0), access_log=access_log)


def _check(found: Settings) -> int:
    from gateway.core.clock import Clock
    from gateway.ledger.export.target import target_of
    from gateway.ledger.webhooks.delivery import signing_keys
    from gateway.live import load_all
    from gateway.live_knowledge import embedders_of
    from gateway.upstream.transport import Http1Transport
    from gateway.upstream.upstreams import Upstreams

    loaded = load_all(found.policies, environment(), found.data)

    async def nobody(_url: str, _headers: dict[str, str], _body: bytes) -> bytes:
        raise NotImplementedError

    embedders_of(loaded, environment(), nobody)
    signing_keys(found.books.webhook_secret)
    if found.books.export is not None:
        target_of(found.books.export, found.books.export_password, nobody)
    unused = Http1Transport()
    transports = {"http1": unused, "httpx": unused}
    Upstreams(transports, environment(), Clock()).build(loaded.rulebook.models.upstreams)
    say(f"Good: policy {loaded.texts.hash}, data under {found.data}, database {_plain(found.database_url)}.")
    return 0


def _plain(url: str) -> str:
    """A database URL without its password."""
    head, at, tail = url.rpartition("@")
    scheme, _, _ = head.partition("://")
    return f"{scheme}://***@{tail}" if at else url
