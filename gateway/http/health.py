"""Whether the process lives, whether it may be sent calls, and what it counts."""

from collections.abc import Callable

from litestar import MediaType, Response, get
from litestar.datastructures import State
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Health:
    """What the probes ask. ready: None when calls are welcome, else the reason why not."""

    def __init__(
        self, ready: Callable[[], str | None], registry: CollectorRegistry, refresh: Callable[[], None]
    ) -> None:
        self.ready = ready
        self.registry = registry
        self.refresh = refresh


@get("/healthz", media_type=MediaType.TEXT, include_in_schema=False, sync_to_thread=False)
def healthz() -> str:
    """The process answers; nothing else is asked, so that a database's trouble restarts nobody."""
    return "ok\n"


@get("/readyz", include_in_schema=False, sync_to_thread=False)
def readyz(state: State) -> Response[dict[str, str]]:
    """200 when calls are welcome, 503 with the reason when not."""
    health: Health = state.health
    reason = health.ready()
    if reason is None:
        return Response({"status": "ready"})
    return Response({"status": "not ready", "reason": reason}, status_code=503)


@get("/metrics", include_in_schema=False, sync_to_thread=False)
def metrics(state: State) -> Response[bytes]:
    """Prometheus' text exposition."""
    health: Health = state.health
    health.refresh()
    return Response(generate_latest(health.registry), headers={"content-type": CONTENT_TYPE_LATEST})
