import pytest

from gateway.upstream.port import Origin, Outgoing
from gateway.upstream.request import authority, request_head


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (Origin("https", "api.openai.com", 443), b"api.openai.com"),
        (Origin("http", "api.openai.com", 443), b"api.openai.com:443"),
        (Origin("http", "localhost", 80), b"localhost"),
        (Origin("http", "::1", 8000), b"[::1]:8000"),
    ],
)
def test_host_header_names_the_port_where_it_is_not_the_usual(origin: Origin, host: bytes) -> None:
    assert authority(origin) == host


def test_head_is_written_in_one_way() -> None:
    origin = Origin("https", "api.openai.com", 443, prefix="/v1")
    outgoing = Outgoing("POST", b"/files?x=1", ((b"accept", b"*/*"), (b"x-empty", b"")), b"abc")
    assert request_head(origin, outgoing) == (
        b"POST /v1/files?x=1 HTTP/1.1\r\nhost: api.openai.com\r\naccept: */*\r\nx-empty: \r\ncontent-length: 3\r\n\r\n"
    )


def test_get_without_body_has_no_length() -> None:
    head = request_head(Origin("http", "a", 80), Outgoing("GET", b"/", (), b""))
    assert head == b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize("host", ["a\r\nx: 1", "a\0"])
def test_host_with_a_line_break_is_refused(host: str) -> None:
    with pytest.raises(ValueError):
        request_head(Origin("http", host, 80), Outgoing("GET", b"/", (), b""))
