from email.utils import formatdate

import pytest

from gateway.core.decision import CallLimits
from gateway.upstream.port import Deadlines
from gateway.upstream.waiting import deadlines_within, retry_after
from tests.fakes.calls import NOON

OWN = Deadlines(1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("limits", "left", "deadlines"),
    [
        (CallLimits(), 100, OWN),
        (CallLimits(connect_seconds=0.1), 100, Deadlines(0.1, 2, 3, 4, 5)),
        (CallLimits(first_byte_seconds=20), 100, Deadlines(1, 20, 3, 4, 5)),
        (CallLimits(first_token_seconds=0.5), 100, Deadlines(1, 2, 3, 4, 0.5)),
        (CallLimits(between_seconds=30), 100, Deadlines(1, 2, 30, 4, 5)),
        (CallLimits(total_seconds=40), 100, Deadlines(1, 2, 3, 40, 5)),
        (CallLimits(total_seconds=40), 30, Deadlines(1, 2, 3, 30, 5)),
        (CallLimits(), 0.25, Deadlines(1, 2, 3, 0.25, 5)),
        (CallLimits(), float("inf"), OWN),
    ],
)
def test_limits_stand_above_the_upstreams_own_and_what_is_left_above_both(
    limits: CallLimits, left: float, deadlines: Deadlines
) -> None:
    assert deadlines_within(OWN, limits, left) == deadlines


def test_a_first_token_that_nobody_set_goes_with_the_first_byte() -> None:
    assert deadlines_within(Deadlines(), CallLimits(first_byte_seconds=2), 100).first_token_seconds is None


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("retry-after", "3", 3),
        ("retry-after", "0.5", 0.5),
        ("retry-after-ms", "150", 0.15),
        ("retry-after", "inf", float("inf")),
        ("retry-after", formatdate(NOON + 2, usegmt=True), 2),
        ("retry-after", formatdate(NOON + 2), 2),
        ("retry-after", "Mon, 23 Nov 2026 13:00:03 +0100", 3),
        ("retry-after", "Monday, 23-Nov-26 12:00:04 GMT", 4),
    ],
)
def test_a_wait_is_told_in_seconds_or_as_a_date(name: str, value: str, seconds: float) -> None:
    assert retry_after(((b"date", b"x"), (name.encode(), value.encode())), NOON) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", [b"", b"soon", b"-5", b"nan", b"Wed, 21 Oct 2015 07:28:00 GMT", b"Mon, 99 Nov 2026 12:00:04 GMT", b"\xff"]
)
def test_what_is_past_or_cannot_be_read_is_no_wait(value: bytes) -> None:
    assert retry_after(((b"retry-after", value),), NOON) == 0
    assert retry_after((), NOON) == 0
