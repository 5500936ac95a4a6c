import pytest

from gateway.upstream.breaker import WINDOW_SECONDS
from gateway.upstream.retry_budget import FLOOR, RetryBudget


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def taken(budget: RetryBudget) -> int:
    count = 0
    while budget.takes():
        count += 1
    return count


@pytest.mark.parametrize(("share", "calls", "retries"), [(0.2, 500, 100), (1, 30, 30), (0.5, 41, 20)])
def test_retries_add_at_most_their_share_of_the_calls(share: float, calls: int, retries: int) -> None:
    budget = RetryBudget(share, Hand())
    budget.calls.add(calls, 0)
    assert taken(budget) == retries


def test_a_quiet_upstream_may_be_tried_again() -> None:
    budget = RetryBudget(0.2, Hand())
    budget.calls.add(1, 0)
    assert taken(budget) == FLOOR


def test_a_share_of_nothing_is_none_at_all() -> None:
    assert taken(RetryBudget(0, Hand())) == 0


def test_what_was_spent_comes_back_with_time() -> None:
    budget = RetryBudget(0.2, clock := Hand())
    assert taken(budget) == FLOOR
    clock.at += WINDOW_SECONDS - 1
    assert not budget.takes()
    clock.at += 1
    assert taken(budget) == FLOOR
