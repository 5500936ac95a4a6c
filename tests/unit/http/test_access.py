import pytest

from gateway.http.access import same_origin


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("https://gw.example.com", True),
        ("https://gw.example.com:443", True),
        ("https://GW.example.com", True),
        ("http://gw.example.com", False),
        ("https://gw.example.com:8443", False),
        ("https://gw.example.com.evil.example", False),
        ("https://gw.example.com@evil.example", False),
        ("null", False),
        ("", False),
        ("https://[", False),
        ("https://gw.example.com:x", False),
    ],
)
def test_an_origin_is_ours_by_scheme_host_and_port(one: str, *, same: bool) -> None:
    assert same_origin(one, "https://gw.example.com") is same
