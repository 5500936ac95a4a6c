import ssl

import pytest

from gateway.upstream.port import Origin
from gateway.upstream.tls import tls_context


def test_plain_http_has_none() -> None:
    assert tls_context(Origin("http", "a", 80)) is None


def test_certificates_are_checked_unless_asked_otherwise() -> None:
    checked = tls_context(Origin("https", "a", 443))
    assert checked is not None
    assert checked.check_hostname
    assert checked.verify_mode is ssl.CERT_REQUIRED
    trusting = tls_context(Origin("https", "a", 443, verify=False))
    assert trusting is not None
    assert trusting.verify_mode is ssl.CERT_NONE


def test_other_schemes_are_refused() -> None:
    with pytest.raises(ValueError, match="'ftp'"):
        tls_context(Origin("ftp", "a", 21))
