"""The head of a request, refused where it would say something else on the wire than in the value."""

from gateway.upstream.port import Origin, Outgoing

_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_OURS = frozenset((b"host", b"content-length", b"connection", b"transfer-encoding"))
_BODY_METHODS = frozenset(("POST", "PUT", "PATCH"))


def request_head(origin: Origin, outgoing: Outgoing) -> bytes:
    """The request line and headers as they go on the wire, the blank line included.

    Raises ValueError for what would say something else there than it says here: a line break or NUL in any
    part, a header name that is not a lower-case token or is the transport's to add.
    """
    headers = outgoing.headers
    names = [name for name, _ in headers]
    if b"".join(names).translate(None, _TOKEN) or b"" in names:
        raise ValueError("A header name is not a lower-case HTTP token.")
    if not _OURS.isdisjoint(names):
        raise ValueError("host, content-length, connection and transfer-encoding are the transport's to add.")
    if not outgoing.method.isalpha():
        raise ValueError(f"Method {outgoing.method!r} is not an HTTP method.")
    target = origin.prefix.encode("ascii") + outgoing.target
    if not target.startswith(b"/") or b" " in target:
        raise ValueError(f"Target {target!r} must start with '/' and be percent-encoded.")
    lines = [b"%b %b HTTP/1.1" % (outgoing.method.encode("ascii"), target), b"host: " + authority(origin)]
    lines += [b"%b: %b" % header for header in headers]
    if outgoing.body or outgoing.method in _BODY_METHODS:
        lines.append(b"content-length: %d" % len(outgoing.body))
    head = b"\r\n".join(lines)
    # Counted once over the whole head: cheaper than looking at each value, and no part is forgotten.
    breaks = len(lines) - 1
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks or b"\0" in head:
        raise ValueError("A header value, the target or the host holds a line break or NUL.")
    return head + b"\r\n\r\n"


def authority(origin: Origin) -> bytes:
    """The origin as a Host header names it: the port only where it is not the scheme's own."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if origin.port == (443 if origin.scheme == "https" else 80):
        return host.encode("ascii")
    return f"{host}:{origin.port}".encode("ascii")
