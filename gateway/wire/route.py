"""Which reader a /v1 route has."""

from collections.abc import Callable

from gateway.core.call import Call, Inbound
from gateway.core.errors import InvalidRequest, MethodNotAllowed, RouteNotFound
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
# The name goes into every book. The longest known, of a tuned model's checkpoint, has some 120 characters.
MAX_MODEL = 300


def read_call(inbound: Inbound) -> Call:
    """The call of one request.

    Raises RouteNotFound (404) outside /v1 and for paths that could mean two things upstream,
    MethodNotAllowed (405), InvalidRequest (400) for a body that its endpoint cannot have and for a model's
    name that no database takes.
    """
    call = _read(inbound)
    if len(call.model) > MAX_MODEL or "\0" in call.model:
        raise InvalidRequest(
            f"The model's name must have at most {MAX_MODEL} characters, and none that is NUL.", param="model"
        )
    return call


def _read(inbound: Inbound) -> Call:
    path = inbound.path
    reader = READERS.get(path) if inbound.raw_path.startswith(b"/v1/") else None
    if reader is not None:
        # GET and POST on a collection differ: GET /v1/chat/completions lists stored completions upstream.
        if inbound.method == "POST":
            return reader(inbound)
        if inbound.method != "GET" or path in {"/v1/embeddings", "/v1/completions"}:
            raise MethodNotAllowed(f"{inbound.method} is not supported on {path}; use POST.")
        return read_passthrough(inbound)
    # What goes upstream is the raw path below /v1: an encoded `/v%31/` would be cut in the wrong place.
    begins = path.startswith("/v1/") and inbound.raw_path.startswith(b"/v1/")
    if not begins or len(path) < 5 or _ambiguous(path):
        raise RouteNotFound(f"Unknown request URL: {inbound.method} {path}.")
    if inbound.method not in METHODS:
        raise MethodNotAllowed(f"{inbound.method} is not supported on {path}.")
    return read_passthrough(inbound)


def _ambiguous(path: str) -> bool:
    return any(part in {"", ".", ".."} for part in path[1:].split("/")) or "\\" in path
