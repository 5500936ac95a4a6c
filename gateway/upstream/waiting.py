"""How long an attempt may wait under its call's limits, and how long an upstream asks to wait before the next."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

from gateway.core.call import Headers
from gateway.core.decision import CallLimits
from gateway.upstream.port import Deadlines


class Waiting(Protocol):
    """The caller, while it waits for a reply."""

    @property
    def left(self) -> bool:
        """Whether the caller is gone."""
        ...

    def patience(self, seconds: float) -> None:
        """How long the upstream may go on after the caller has left; 0 cuts it at once."""
        ...


def deadlines_within(own: Deadlines, limits: CallLimits, left_seconds: float) -> Deadlines:
    """The deadlines of one attempt: what the limits say above the upstream's own, and no longer than what is left."""
    total = own.total_seconds if limits.total_seconds is None else limits.total_seconds
    first_token = own.first_token_seconds if limits.first_token_seconds is None else limits.first_token_seconds
    return Deadlines(
        connect_seconds=own.connect_seconds if limits.connect_seconds is None else limits.connect_seconds,
        first_byte_seconds=own.first_byte_seconds if limits.first_byte_seconds is None else limits.first_byte_seconds,
        between_seconds=own.between_seconds if limits.between_seconds is None else limits.between_seconds,
        total_seconds=min(total, left_seconds),
        first_token_seconds=first_token,
    )


def retry_after(headers: Headers, wall: float) -> float:
    """Seconds that the upstream asks to wait, as a number or as a date; 0 when it says nothing that can be read.

    wall: Unix time now, which a date is held against.
    """
    for name, value in headers:
        if name in {b"retry-after-ms", b"retry-after"}:
            try:
                seconds = float(value) / (1000 if name.endswith(b"-ms") else 1)
            except ValueError:
                seconds = _until(value, wall)
            # nan is no wait either: it compares with nothing.
            return seconds if seconds > 0 else 0.0
    return 0.0


def _until(date: bytes, wall: float) -> float:
    try:
        moment = parsedate_to_datetime(date.decode("latin-1"))
    except (ValueError, OverflowError):
        return 0.0
    # The form without a zone, `-0000`, is UTC too.
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() - wall
