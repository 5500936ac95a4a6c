from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from gateway.core.errors import BadConfiguration
from tests.fakes.calls import chat, facts
from tests.fakes.rulebook import held, rule

OFFICE = "time: {from: '09:00', to: '17:30', days: [mon, tue, wed, thu, fri], zone: Europe/Berlin}"
NIGHT = "time: {from: '22:00', to: '06:00', days: [fri]}"


def at(when: str, moment: str, zone: str = "UTC") -> bool:
    """Whether it holds at a local time; 2026-11-23 is a Monday."""
    moment_of = datetime.fromisoformat(moment).replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
    return held(when, chat(), msgspec.structs.replace(facts(), now=moment_of.timestamp()))


def test_begins_at_the_first_minute_and_ends_before_the_last() -> None:
    when = "time: {from: '09:00', to: '17:30'}"
    assert not at(when, "2026-11-23T08:59:59")
    assert at(when, "2026-11-23T09:00:00")
    assert at(when, "2026-11-23T17:29:59")
    assert not at(when, "2026-11-23T17:30:00")


def test_a_time_without_quotes_is_the_same_time() -> None:
    """YAML 1.1 reads 17:30 as 1,050: a number to the base of 60."""
    when = "time: {from: 09:00, to: 17:30}"
    assert at(when, "2026-11-23T09:00:00")
    assert at(when, "2026-11-23T17:29:00")
    assert not at(when, "2026-11-23T17:30:00")
    assert at("time: {from: 22:15, to: 24:00}", "2026-11-23T23:59:59")


def test_past_midnight_it_belongs_to_the_day_on_which_it_began() -> None:
    assert at(NIGHT, "2026-11-27T22:00:00"), "Friday night"
    assert at(NIGHT, "2026-11-28T05:59:00"), "the same night, on Saturday"
    assert not at(NIGHT, "2026-11-28T06:00:00")
    assert not at(NIGHT, "2026-11-27T05:00:00"), "that night began on Thursday"
    assert not at(NIGHT, "2026-11-28T22:30:00"), "Saturday night"


def test_only_the_named_days_count() -> None:
    assert at("time: {days: [sat, sun]}", "2026-11-28T00:00:00")
    assert at("time: {days: [sat, sun]}", "2026-11-29T23:59:59")
    assert not at("time: {days: [sat, sun]}", "2026-11-30T00:00:00")


def test_the_clock_and_the_day_are_those_of_the_zone() -> None:
    assert at(OFFICE, "2026-11-23T09:00:00", "Europe/Berlin")
    assert not at(OFFICE, "2026-11-23T17:00:00"), "in Berlin it is 18:00"
    tokyo = "time: {days: [tue], zone: Asia/Tokyo}"
    assert at(tokyo, "2026-11-23T20:00:00"), "Monday in UTC is Tuesday there"


def test_summer_time_moves_the_hours_with_the_clocks() -> None:
    assert at(OFFICE, "2026-07-20T07:00:00"), "09:00 in summer"
    assert not at(OFFICE, "2026-11-23T07:00:00"), "08:00 in winter"
    # The hour that the clocks show twice is in it twice; the one they leave out is in it never.
    twice = "time: {from: '02:00', to: '03:00', zone: Europe/Berlin}"
    assert at(twice, "2026-10-25T00:30:00")
    assert at(twice, "2026-10-25T01:30:00")
    assert not at(twice, "2026-03-29T00:59:59")
    assert not at(twice, "2026-03-29T01:00:00")


def test_the_same_beginning_and_end_is_the_whole_day() -> None:
    assert at("time: {from: '09:00', to: '09:00'}", "2026-11-23T03:00:00")


@pytest.mark.parametrize(
    ("hours", "fault"),
    [
        ("{zone: Europe/Atlantis}", "no time zone of that name"),
        ("{zone: ../../etc/passwd}", "no time zone of that name"),
        ("{zone: ''}", "no time zone of that name"),
        ("{days: [monday]}", "days is 'monday'"),
        ("{days: []}", "days"),
        ("{from: '25:00'}", "from is '25:00'"),
        ("{from: '9:00'}", "from is '9:00'"),
        ("{to: '17:60'}", "to is '17:60'"),
        ("{to: '24:01'}", "to is '24:01'"),
        ("{to: 2000}", "to"),
        ("{to: true}", "to"),
    ],
)
def test_hours_that_cannot_be_are_a_fault_at_their_place(hours: str, fault: str) -> None:
    with pytest.raises(BadConfiguration, match=rf"routing\.yaml:1:\d+: .*{fault}"):
        rule(f"time: {hours}")
