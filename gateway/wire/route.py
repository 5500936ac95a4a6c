"""Which reader a /v1 route has."""

from collections.abc import Callable

from gateway.core.call import Call, Inbound
from gateway.core.errors import MethodNotAllowed, RouteNotFound
from gateway.wire.chat import read_chat
from gateway.wire.completions import read_completions
from gateway.wire.embeddings import read_embeddings
from gateway.wire.passthrough import read_passthrough
from gateway.wire.responses import read_responses

Reader = Callable[[Inbound], Call]

READERS: dict[str, Reader] = {
    "/v1/chat/completions": read_chat,
    "/v1/responses": read_responses,
    "/v1/completions": read_completions,
    "/v1/embeddings": read_embeddings,
}
METHODS = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH"})


def read_call(inbound: Inbound) -> Call:
    """The call of one request.

    Raises RouteNotFound (404) outside /v1 and for paths that could mean two things upstream,
    MethodNotAllowed (405), InvalidRequest (400) for a body that its endpoint cannot have.
    """
    path = inbound.path
    reader = READERS.get(path)
    if reader is not None:
        # GET and POST on a collection differ: GET /v1/chat/completions lists stored completions upstream.
        if inbound.method == "POST":
            return reader(inbound)
        if inbound.method != "GET" or path in {"/v1/embeddings", "/v1/completions"}:
            raise MethodNotAllowed(f"{inbound.method} is not supported on {path}; use POST.")
        return read_passthrough(inbound)
    if not path.startswith("/v1/") or len(path) < 5 or _ambiguous(path):
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {path}.")
    if inbound.method not in METHODS:
        raise MethodNotAllowed(f"{inbound.method} is not supported on {path}.")
    return read_passthrough(inbound)


def _ambiguous(path: str) -> bool:
    return any(part in {"", ".", ".."} for part in path[1:].split("/")) or "\\" in path
