import pytest

from gateway.core.call import Headers
from gateway.core.errors import InvalidRequest
from gateway.wire.caller import asked_path, caller_metadata
from tests.fakes.calls import inbound


def metadata(header: bytes | None, in_body: object = None) -> dict[str, str]:
    headers: Headers = () if header is None else ((b"x-gateway-metadata", header),)
    return dict(caller_metadata(inbound(b"", headers=headers), in_body))


@pytest.mark.parametrize(
    ("header", "pairs"),
    [
        (b'{"feature": "refunds", "try": 2, "beta": true}', {"feature": "refunds", "try": "2", "beta": "true"}),
        (b"feature=refunds, ticket = 12=3 ,", {"feature": "refunds", "ticket": "12=3"}),
        (b"", {}),
        ("stadt=Zürich".encode(), {"stadt": "Zürich"}),
    ],
)
def test_the_header_is_small_json_or_pairs(header: bytes, pairs: dict[str, str]) -> None:
    assert metadata(header) == pairs


def test_the_header_stands_above_the_body() -> None:
    assert metadata(b"a=header", {"a": "body", "b": "body"}) == {"a": "header", "b": "body"}


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        b"[1]",
        b'{"a": [1]}',
        b'{"a": NaN}',
        b"novalue",
        b"=x",
        b"\xff=\xff",
        b'{"a":' * 50_000,
        b'{"a": "\\ud800"}',
    ],
)
def test_what_cannot_be_read_is_refused(header: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        metadata(header)
    assert caught.value.param == "x-gateway-metadata"


def test_openais_limits_hold() -> None:
    assert len(metadata(None, {str(n): "x" for n in range(16)})) == 16
    for wrong in ({str(n): "x" for n in range(17)}, {"k" * 65: "x"}, {"k": "x" * 513}):
        with pytest.raises(InvalidRequest) as caught:
            metadata(None, wrong)
        assert caught.value.param == "metadata"


@pytest.mark.parametrize("name", ["fine_tuned", "rag", "direct"])
def test_a_path_may_be_asked_for(name: str) -> None:
    assert asked_path(inbound(b"", headers=((b"x-gateway-path", name.encode()),))) == name
    assert asked_path(inbound(b"")) is None


@pytest.mark.parametrize("name", [b"passthrough", b"", b"RAG", b"\xff"])
def test_a_word_that_is_no_path_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidRequest, match="x-gateway-path"):
        asked_path(inbound(b"", headers=((b"x-gateway-path", name),)))
