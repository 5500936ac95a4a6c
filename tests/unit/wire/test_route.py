import msgspec
import pytest

from gateway.core.errors import MethodNotAllowed, RouteNotFound
from gateway.wire.route import read_call
from tests.fakes.calls import inbound


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/files/file-1/content", "/v1/fine_tuning/jobs", "/v1/x%20y"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_every_other_route_is_passed_on(path: str, method: str) -> None:
    assert read_call(inbound(b"", path, method=method)).endpoint == "passthrough"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v2/chat/completions",
        "/v1//files",
        "/v1/files/",
        "/v1/../admin",
        "/v1/files/./x",
        "/v1/files/..",
        "/v1/a\\..\\b",
        "/admin/teams",
    ],
)
def test_a_path_that_could_mean_two_things_is_no_route(path: str) -> None:
    """Two parsers that read `..` in two ways let a caller reach what this one was never asked about."""
    with pytest.raises(RouteNotFound):
        read_call(inbound(b"", path, method="GET"))


@pytest.mark.parametrize("raw", [b"/%761/files", b"/v%31/files", b"/%76%31/files", b"/v1%2Ffiles"])
def test_an_encoded_prefix_is_no_route(raw: bytes) -> None:
    """The raw path below /v1 goes upstream; cut at the wrong place it would be another address."""
    for path in ("/v1/files", "/v1/chat/completions"):
        asked = msgspec.structs.replace(inbound(b"{}", path), raw_path=raw)
        with pytest.raises(RouteNotFound):
            read_call(asked)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v1/chat/completions"),
        ("GET", "/v1/embeddings"),
        ("GET", "/v1/completions"),
        ("DELETE", "/v1/responses"),
        ("TRACE", "/v1/files"),
        ("CONNECT", "/v1/files"),
    ],
)
def test_a_method_that_a_route_does_not_have_is_405(method: str, path: str) -> None:
    with pytest.raises(MethodNotAllowed):
        read_call(inbound(b"{}", path, method=method))


def test_stored_completions_are_listed_upstream() -> None:
    assert read_call(inbound(b"", "/v1/chat/completions", method="GET")).endpoint == "passthrough"
