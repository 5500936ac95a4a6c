"""What time it is, somewhere."""

from datetime import UTC, datetime
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.core.document import Written
from gateway.policy.condition import Check, Compiling, Condition
from gateway.policy.seen import Seen

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
MINUTES = 24 * 60


def _unfolded(value: object) -> object:
    # YAML 1.1 reads 17:30 without quotes as a number to the base of 60.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MINUTES:
        return f"{value // 60:02d}:{value % 60:02d}"
    return value


def _known(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no time zone of that name is known; names are such as Europe/Berlin") from None
    return zone


Minute = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$"), BeforeValidator(_unfolded)]


class Hours(Written):
    """A stretch of the day, its end not included; one that ends before it begins goes past midnight.

    days: on which the stretch begins; all, unless named. zone: where the clock hangs.
    """

    begin: Annotated[Minute, Field(alias="from")] = "00:00"
    end: Annotated[Minute, Field(alias="to")] = "24:00"
    days: Annotated[list[Day], Field(min_length=1, default_factory=lambda: list(DAYS))]
    zone: Annotated[str, AfterValidator(_known)] = "UTC"


def _compile(hours: Hours, _compiling: Compiling) -> Check:
    begin, end = _minutes(hours.begin), _minutes(hours.end)
    days = frozenset(DAYS.index(day) for day in hours.days)
    zone = ZoneInfo(hours.zone)

    def check(seen: Seen) -> bool:
        local = datetime.fromtimestamp(seen.facts.now, zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if begin < end:
            return day in days and begin <= minute < end
        # Past midnight the stretch still belongs to the day on which it began.
        return (minute >= begin and day in days) or (minute < end and (day - 1) % 7 in days)

    return check


def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


CONDITION = Condition(
    summary="it is between these times of day, on one of these days, in this time zone (UTC, unless named)",
    example="time: {from: '09:00', to: '17:30', days: [mon, tue, wed, thu, fri], zone: Europe/Berlin}",
    value=Hours,
    compile=_compile,
    observed=lambda seen: f"{datetime.fromtimestamp(seen.facts.now, UTC):%a %H:%M} UTC",
    always=lambda hours: set(hours.days) == set(DAYS) and _minutes(hours.end) - _minutes(hours.begin) in {0, MINUTES},
)
