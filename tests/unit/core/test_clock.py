from datetime import UTC, date, datetime

from gateway.core.clock import month_start, utc_day, utc_month


def test_days_and_months_are_those_of_utc() -> None:
    """A team's month must not depend on where the server stands."""
    last = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    assert utc_day(last) == date(2026, 12, 31)
    assert (utc_month(last), utc_month(last + 1)) == ("2026-12", "2027-01")


def test_a_month_starts_at_its_first_second() -> None:
    start = datetime(2026, 2, 1, tzinfo=UTC).timestamp()
    assert month_start(start) == start
    assert month_start(start + 86_400 * 27) == start
