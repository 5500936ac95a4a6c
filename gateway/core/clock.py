"""Time, so that tests can turn it: `wall` is Unix seconds, `monotonic` never goes back."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from gateway.core.values import Value


class Clock(Value, frozen=True):
    """Two functions. Durations come from `monotonic`, calendar questions from `wall`."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


DAY_SECONDS = 86_400


@lru_cache(maxsize=64)
def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)


@lru_cache(maxsize=64)
def _month(number: int) -> str:
    return _day(number).strftime("%Y-%m")


def utc_day(wall: float) -> date:
    """The UTC calendar day of a Unix time."""
    return _day(int(wall // DAY_SECONDS))


def utc_month(wall: float) -> str:
    """The UTC month of a Unix time, as `2026-11`."""
    return _month(int(wall // DAY_SECONDS))


def month_start(wall: float) -> float:
    """The Unix time at which the UTC month of `wall` began."""
    moment = datetime.fromtimestamp(wall, UTC)
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
