from datetime import UTC, datetime

import pytest

from gateway.core.errors import BudgetExceeded
from gateway.ledger.cap import Caps
from tests.fakes.calls import NOON

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC).timestamp()


def budgets(limit: int | None, spent: int = 0) -> Caps:
    made = Caps()
    made.limit("support", limit)
    made.spent("support", spent, "2026-11")
    return made


def test_the_last_nano_dollar_can_be_reserved_and_not_one_more() -> None:
    held = budgets(100, spent=40)
    assert held.reserve("support", 60, NOON) == 60
    with pytest.raises(BudgetExceeded):
        held.reserve("support", 1, NOON)


def test_what_is_settled_is_free_again_and_what_it_cost_is_spent() -> None:
    held = budgets(100)
    reserved = held.reserve("support", 100, NOON)
    held.settle("support", reserved, 30, NOON)
    assert held.state("support") == (100, 30, 0)
    assert held.reserve("support", 70, NOON) == 70


def test_a_spent_budget_refuses_calls_without_a_price_too() -> None:
    """They reserve nothing, so nothing else would ever stop them."""
    held = budgets(100, spent=99)
    assert held.reserve("support", 0, NOON) == 0
    held.settle("support", 0, 1, NOON)
    with pytest.raises(BudgetExceeded):
        held.reserve("support", 0, NOON)


def test_a_refusal_says_what_was_spent_and_when_it_renews() -> None:
    held = budgets(40_000_000_000, spent=39_000_000_000)
    held.reserve("support", 500_000_000, NOON)
    with pytest.raises(BudgetExceeded) as caught:
        held.reserve("support", 600_000_000, NOON)
    assert caught.value.message == (
        "Team 'support' has spent 39.00 of 40.00 USD for November and holds 0.50 for calls in flight. "
        "The budget renews on 2026-12-01 00:00 UTC."
    )
    with pytest.raises(BudgetExceeded, match="renews on 2027-01-01"):
        budgets(0).reserve("support", 1, DECEMBER)


def test_a_team_without_a_limit_is_never_refused() -> None:
    held = budgets(None)
    assert held.reserve("support", 10**15, NOON) == 0
    assert held.reserve("stranger", 10**15, NOON) == 0
    assert held.used_ratio("support", NOON) is None


def test_a_new_month_begins_with_nothing_spent() -> None:
    held = budgets(100, spent=100)
    assert held.used_ratio("support", NOON) == 1.0
    assert held.used_ratio("support", DECEMBER) == 0.0
    assert held.reserve("support", 100, DECEMBER) == 100


def test_a_clock_that_jumps_back_does_not_open_last_months_budget() -> None:
    held = budgets(100)
    held.settle("support", 0, 100, DECEMBER)
    with pytest.raises(BudgetExceeded):
        held.reserve("support", 1, NOON)


def test_a_call_over_midnight_gives_back_what_it_held() -> None:
    held = budgets(100)
    reserved = held.reserve("support", 80, NOON)
    held.settle("support", reserved, 50, DECEMBER)
    assert held.state("support") == (100, 50, 0)


def test_a_limit_that_comes_or_goes_during_a_call_leaves_nothing_reserved() -> None:
    held = budgets(None)
    reserved = held.reserve("support", 80, NOON)
    held.limit("support", 100)
    held.settle("support", reserved, 10, NOON)
    assert held.state("support") == (100, 10, 0)
    reserved = held.reserve("support", 80, NOON)
    held.limit("support", None)
    held.settle("support", reserved, 10, NOON)
    assert held.state("support") == (None, 20, 0)


def test_news_of_an_older_month_are_no_news() -> None:
    held = budgets(100)
    held.settle("support", 0, 5, DECEMBER)
    held.spent("support", 99, "2026-11")
    assert held.state("support") == (100, 5, 0)
