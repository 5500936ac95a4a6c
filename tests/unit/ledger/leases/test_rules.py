from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.ledger.leases.rules import WINDOWS, period_of, pool_id, team_budget

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo | None = None) -> float:
    moment = datetime.fromisoformat(text)
    return (moment.replace(tzinfo=zone) if zone else moment.replace(tzinfo=UTC)).timestamp()


@pytest.mark.parametrize(
    ("window", "first", "after"),
    [
        ("day", "2026-11-24", "2026-11-25"),
        ("week", "2026-11-23", "2026-11-30"),
        ("month", "2026-11-01", "2026-12-01"),
        ("quarter", "2026-10-01", "2027-01-01"),
        ("year", "2026-01-01", "2027-01-01"),
    ],
)
def test_windows_are_those_of_the_calendar(window: str, first: str, after: str) -> None:
    found = period_of(window, "UTC", at("2026-11-24T12:00:00"))  # type: ignore[arg-type]
    assert (found.first_day, found.starts_at, found.ends_at) == (date.fromisoformat(first), at(first), at(after))


def test_a_window_turns_at_midnight_of_its_own_time_zone() -> None:
    before = period_of("month", "Europe/Berlin", at("2026-11-30T22:59:59"))
    turned = period_of("month", "Europe/Berlin", at("2026-11-30T23:00:00"))
    assert (before.first_day, turned.first_day) == (date(2026, 11, 1), date(2026, 12, 1))
    assert before.ends_at == turned.starts_at == at("2026-12-01T00:00:00", BERLIN)


def test_days_of_summer_time_have_23_and_25_hours() -> None:
    spring = period_of("day", "Europe/Berlin", at("2026-03-29T12:00:00", BERLIN))
    autumn = period_of("day", "Europe/Berlin", at("2026-10-25T12:00:00", BERLIN))
    assert (spring.ends_at - spring.starts_at, autumn.ends_at - autumn.starts_at) == (23 * 3600, 25 * 3600)


@given(
    st.sampled_from(WINDOWS),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]
    ),
    st.integers(978_307_200, 2_114_380_800).map(float),
)
def test_every_moment_lies_in_one_period_and_the_next_begins_where_it_ends(window: str, zone: str, now: float) -> None:
    found = period_of(window, zone, now)  # type: ignore[arg-type]
    assert found.starts_at <= now < found.ends_at
    if window != "total":
        assert period_of(window, zone, found.ends_at).starts_at == found.ends_at  # type: ignore[arg-type]
        assert found.ends_at - found.starts_at <= timedelta(days=367).total_seconds()


def test_a_time_zone_that_nobody_knows_is_said_to_be_one() -> None:
    for name in ("Mars/Base", "../etc/passwd", ""):
        with pytest.raises(InvalidRequest, match="no time zone"):
            period_of("day", name, 0.0)


def test_a_pool_is_named_by_its_budget_and_its_first_day() -> None:
    rule = team_budget("support", 10)
    assert pool_id(rule, period_of("month", "UTC", at("2026-11-24"))) == "team/support/month@2026-11-01"
