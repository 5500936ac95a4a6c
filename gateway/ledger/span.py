"""Days and times as people write them."""

from datetime import UTC, datetime

from gateway.core.errors import InvalidRequest


def unix_time(written: str | None, name: str) -> float | None:
    """`2026-11-01` or a full ISO time as a Unix time, UTC unless it says otherwise; None for None.

    Raises InvalidRequest, naming the parameter, for what cannot be read.
    """
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        message = f"{name} is {written!r}; it must be a day (2026-11-01) or an ISO time."
        raise InvalidRequest(message, param=name) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
