"""Spent and reserved together never pass the limit; nothing stays reserved; nobody is refused who could be paid."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BudgetExceeded
from gateway.ledger.budget import Budgets
from tests.fakes.calls import NOON

AMOUNTS = st.integers(0, 1_000)
# Each step: reserve an amount, or settle one of the calls in flight at a share of what it reserved.
STEPS = st.lists(st.tuples(st.booleans(), AMOUNTS, st.integers(0, 100)), max_size=60)


@given(st.integers(0, 5_000), STEPS)
def test_no_order_of_calls_overshoots(limit: int, steps: list[tuple[bool, int, int]]) -> None:
    budgets = Budgets()
    budgets.limit("support", limit)
    flying: list[int] = []
    spent = 0
    for opens, amount, share in steps:
        if opens or not flying:
            fits = spent < limit and spent + sum(flying) + amount <= limit
            try:
                flying.append(budgets.reserve("support", amount, NOON))
                assert fits, "let through what does not fit"
            except BudgetExceeded:
                assert not fits, "refused what could be paid"
        else:
            reserved = flying.pop(share % len(flying))
            cost = reserved * share // 100
            spent += cost
            budgets.settle("support", reserved, cost, NOON)
        assert budgets.state("support") == (limit, spent, sum(flying))
        assert spent + sum(flying) <= limit
    for reserved in flying:
        budgets.settle("support", reserved, 0, NOON)
    assert budgets.state("support")[2] == 0


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), AMOUNTS), max_size=40))
def test_one_teams_calls_never_touch_anothers_budget(calls: list[tuple[str, int]]) -> None:
    budgets = Budgets()
    for team in ("a", "b", "c"):
        budgets.limit(team, 10**9)
    for team, amount in calls:
        budgets.settle(team, budgets.reserve(team, amount, NOON), amount, NOON)
    for team in ("a", "b", "c"):
        assert budgets.state(team) == (10**9, sum(amount for name, amount in calls if name == team), 0)


@given(st.lists(st.floats(NOON - 90 * 86_400, NOON + 90 * 86_400), min_size=1, max_size=30))
def test_whatever_the_clock_does_nothing_stays_reserved(moments: list[float]) -> None:
    budgets = Budgets()
    budgets.limit("support", 1_000)
    held = []
    for moment in moments:
        try:
            held.append(budgets.reserve("support", 10, moment))
        except BudgetExceeded:
            continue
    for reserved, moment in zip(held, reversed(moments), strict=False):
        budgets.settle("support", reserved, 1, moment)
    assert budgets.state("support")[2] == 0
