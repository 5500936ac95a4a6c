"""Time, so that tests can turn it: `wall` is Unix seconds, `monotonic` never goes back."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime

from gateway.core.values import Value


class Clock(Value, frozen=True):
    """Two functions. Durations come from `monotonic`, calendar questions from `wall`."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


def utc_day(wall: float) -> date:
    """The UTC calendar day of a Unix time."""
    return datetime.fromtimestamp(wall, UTC).date()


def utc_month(wall: float) -> str:
    """The UTC month of a Unix time, as `2026-11`."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m")


def month_start(wall: float) -> float:
    """The Unix time at which the UTC month of `wall` began."""
    moment = datetime.fromtimestamp(wall, UTC)
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
