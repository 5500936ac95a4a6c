"""What goes wrong between us and an upstream, one class per reason. `send` maps them to what callers see."""


class TransportError(Exception):
    """A call that did not give a whole reply.

    sent: bytes of the request may have left this process, so the upstream may be working on it, and may
    bill it. False only where that is certain; then a retry elsewhere costs nothing.
    """

    sent = True

    def __init__(self, message: str, *, sent: bool | None = None) -> None:
        super().__init__(message)
        if sent is not None:
            self.sent = sent


class ConnectFailed(TransportError):
    """No connection, so nothing was sent: name not found, refused, TLS not agreed."""

    sent = False


class ConnectTimedOut(ConnectFailed):
    """No connection within `connect_seconds`, name lookup and TLS handshake included."""


class NotAnswered(TransportError):
    """The connection ended before a whole reply head came."""


class TimedOut(TransportError):
    """A wait was longer than its deadline; each has a class of its own."""


class FirstByteTimedOut(TimedOut):
    """No reply head within `first_byte_seconds` of the sent request."""


class FirstTokenTimedOut(TimedOut):
    """A head, and no first token within `first_token_seconds` of the sent request: see `ahead`."""


class BetweenTimedOut(TimedOut):
    """A reader waited `between_seconds` for the next bytes of the body."""


class TotalTimedOut(TimedOut):
    """The call was not over after `total_seconds`, connecting included."""


class ReplyBroken(TransportError):
    """The reply is not HTTP, frames its body in two ways, or ended before its body did."""


class Aborted(TransportError):
    """Our side gave the call up: `Lease.abort`, `Reply.abort`, or the transport was closed."""
