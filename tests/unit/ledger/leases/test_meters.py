from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from gateway.core.call import Principal
from gateway.core.errors import BudgetExceeded
from gateway.ledger.leases.meters import Budgets, Meter
from gateway.ledger.leases.rules import BudgetRule, team_budget
from tests.fakes.calls import NOON

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
WEB = Principal("support", "key_1", "web", organisation="acme")


def granted(limit: int, spent: int = 0, rule: BudgetRule | None = None) -> tuple[Budgets, tuple[Meter, ...]]:
    """A budget of which this process has been granted all."""
    made = Budgets()
    made.define([rule or team_budget("support", limit)])
    meters = made.meters(WEB, (), NOON)
    for meter in meters:
        meter.is_known, meter.granted, meter.elsewhere = True, limit - spent, spent
    return made, meters


def test_the_last_nano_dollar_can_be_reserved_and_not_one_more() -> None:
    held, meters = granted(100, spent=40)
    assert held.reserve(meters, 60) is None
    assert held.reserve(meters, 1) is meters[0]


def test_a_budget_that_is_spent_for_certain_refuses_without_asking_anybody() -> None:
    held, meters = granted(100, spent=40)
    held.charge(meters, 60)
    for amount in (0, 1):
        with pytest.raises(BudgetExceeded):
            held.reserve(meters, amount)


def test_what_is_settled_is_free_again_and_what_it_cost_is_spent() -> None:
    held, meters = granted(100)
    held.reserve(meters, 100)
    held.charge(meters, 30)
    held.release(meters, 100)
    assert (meters[0].spent, meters[0].reserved) == (30, 0)
    assert held.reserve(meters, 70) is None


def test_all_budgets_of_a_call_are_reserved_or_none() -> None:
    made = Budgets()
    made.define(
        [
            BudgetRule("b1", "organisation", "acme", "year", "UTC", 1_000),
            BudgetRule("b2", "team", "support", "day", "UTC", 500),
            BudgetRule("b3", "key", "key_1", "total", "UTC", 100),
            BudgetRule("b4", "metadata", "app=web", "month", "UTC", 50),
            BudgetRule("b5", "metadata", "app=mail", "month", "UTC", 50),
            BudgetRule("b6", "team", "sales", "month", "UTC", 50),
        ]
    )
    meters = made.meters(WEB, (("app", "web"), ("user", "7")), NOON)
    assert [meter.rule.id for meter in meters] == ["b1", "b2", "b3", "b4"]
    for meter in meters:
        meter.is_known, meter.granted = True, meter.rule.limit_nano_usd
    with pytest.raises(BudgetExceeded, match="'app=web'"):
        made.reserve(meters, 60)
    assert [meter.reserved for meter in meters] == [0, 0, 0, 0]
    assert made.reserve(meters, 50) is None
    assert [meter.reserved for meter in meters] == [50, 50, 50, 50]


def test_a_refusal_says_what_was_spent_and_when_it_renews() -> None:
    held, meters = granted(40_000_000_000, spent=39_000_000_000)
    held.reserve(meters, 500_000_000)
    assert meters[0].exceeded().message == (
        "Team 'support' has spent 39.00 of 40.00 USD for November and holds 0.50 for calls in flight. "
        "The budget renews on 2026-12-01 00:00 UTC."
    )
    berlin = BudgetRule("b", "key", "key_1", "day", "Europe/Berlin", 100)
    _, (meter,) = granted(100, rule=berlin)
    assert "Key 'key_1'" in meter.exceeded().message
    assert "renews on 2026-11-24 00:00 Europe/Berlin" in meter.exceeded().message
    _, (meter,) = granted(100, rule=replace(berlin, window="total"))
    assert "does not renew" in meter.exceeded().message


def test_a_budget_that_only_counts_refuses_nobody() -> None:
    rule = replace(team_budget("support", 100), is_hard=False)
    held, meters = granted(100, rule=rule)
    held.charge(meters, 1_000)
    assert held.reserve(meters, 1_000) is None
    assert Budgets.used_ratio(meters) is None


def test_a_new_month_begins_with_nothing_and_a_clock_that_jumps_back_does_not_open_the_old_one() -> None:
    held, meters = granted(100)
    held.charge(meters, 100)
    (december,) = held.meters(WEB, (), DECEMBER)
    assert (december.pool, december.spent) == ("team/support/month@2026-12-01", 0)
    assert held.meters(WEB, (), NOON) == (december,)


def test_calls_in_flight_over_the_turn_of_a_month_are_settled_in_the_old_one() -> None:
    held, meters = granted(100)
    held.reserve(meters, 60)
    (december,) = held.meters(WEB, (), DECEMBER)
    held.charge(meters, 50)
    held.release(meters, 60)
    assert (meters[0].used, meters[0].reserved, december.used) == (50, 0, 0)
    assert meters[0] in list(held)
    held.all_current(DECEMBER)
    assert meters[0] in list(held)
    held.shipped({meters[0].pool: 50})
    held.all_current(DECEMBER)
    assert meters[0] not in list(held)


def test_a_changed_limit_keeps_what_was_counted() -> None:
    held, meters = granted(100)
    held.charge(meters, 60)
    held.define([team_budget("support", 50)])
    with pytest.raises(BudgetExceeded, match=r"0\.00000006 of 0\.00000005"):
        held.reserve(held.meters(WEB, (), NOON), 1)


def test_a_team_without_a_budget_is_charged_to_none() -> None:
    held, _ = granted(100)
    assert held.meters(Principal("stranger", "key_9", "k"), (), NOON) == ()
