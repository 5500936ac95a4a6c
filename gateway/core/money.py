"""Money as an integer of nano-dollars (1 USD = 1,000,000,000). Unknown is None, never 0."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

NANO_PER_USD = 1_000_000_000
# A database's BIGINT ends here: 9.2 billion USD.
MAX_NANO = 2**63 - 1


def nano_from_usd(usd: Decimal | str | int) -> int:
    """USD as nano-dollars, rounded half up. Raises ValueError when it is not a finite number up to 9 billion."""
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise ValueError(f"{usd!r} is not an amount in USD") from None
    if not amount.is_finite():
        raise ValueError(f"{usd!r} is not a finite amount")
    if abs(amount) >= MAX_NANO // NANO_PER_USD:
        raise ValueError(f"{usd!r} is more than can be booked")
    return int((amount * NANO_PER_USD).to_integral_value(rounding=ROUND_HALF_UP))


def usd_text(nano: int | None) -> str:
    """Nano-dollars as exact USD text with 2 to 9 decimals; 'unknown' for None."""
    if nano is None:
        return "unknown"
    sign = "-" if nano < 0 else ""
    whole, rest = divmod(abs(nano), NANO_PER_USD)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
