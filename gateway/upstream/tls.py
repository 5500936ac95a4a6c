"""Whom to believe when an upstream shows its certificate."""

import ssl

from gateway.upstream.port import Origin


def tls_context(origin: Origin) -> ssl.SSLContext | None:
    """The TLS settings for an origin; None for plain http.

    Reads the authorities from disk (tens of milliseconds): make one per origin and keep it.
    Raises OSError when `ca_file` cannot be read or holds no certificate.
    """
    if origin.scheme == "http":
        return None
    if origin.scheme != "https":
        raise ValueError(f"Origin scheme is {origin.scheme!r}; it must be 'http' or 'https'.")
    context = ssl.create_default_context(cafile=origin.ca_file)
    if not origin.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
