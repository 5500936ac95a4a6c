from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import NANO_PER_USD, nano_from_usd, usd_text


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        ("40.00", 40_000_000_000),
        ("0.000000001", 1),
        ("0.0000000005", 1),
        ("0.0000000004", 0),
        (3, 3_000_000_000),
        (Decimal("-1.5"), -1_500_000_000),
    ],
)
def test_usd_become_whole_nano_dollars_rounded_half_up(usd: Decimal | str | int, nano: int) -> None:
    assert nano_from_usd(usd) == nano


@pytest.mark.parametrize("usd", ["", "ten", "nan", "sNaN", "inf", "-Infinity", "1e999999", "1e400", "10000000000000"])
def test_an_amount_that_no_database_holds_is_refused(usd: str) -> None:
    with pytest.raises(ValueError, match=r"amount|booked"):
        nano_from_usd(usd)


def test_unknown_is_a_word_and_never_zero() -> None:
    assert usd_text(None) == "unknown"
    assert usd_text(0) == "0.00"


@given(st.integers(min_value=-(8 * NANO_PER_USD * 10**9), max_value=8 * NANO_PER_USD * 10**9))
def test_text_of_an_amount_is_exact(nano: int) -> None:
    assert nano_from_usd(usd_text(nano)) == nano
