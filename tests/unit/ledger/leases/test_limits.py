import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Principal
from gateway.core.errors import RateLimited
from gateway.ledger.leases.limits import Gate, Limits
from gateway.ledger.leases.rules import LimitRule

WEB = Principal("support", "key_1", "web", organisation="acme")


def limits(*rules: LimitRule, rank: int = 0, replicas: int = 1) -> tuple[Limits, tuple[Gate, ...]]:
    made = Limits()
    made.define(rules, 0.0)
    made.place(rank, replicas, 0.0)
    return made, made.gates(WEB)


def test_requests_are_let_in_up_to_the_limit_and_again_as_time_passes() -> None:
    made, gates = limits(LimitRule("team", "support", requests_per_minute=60))
    for _ in range(60):
        made.enter(gates, 0, 0.0)
    with pytest.raises(RateLimited, match="60 requests a minute") as caught:
        made.enter(gates, 0, 0.5)
    assert caught.value.status == 429
    assert caught.value.retry_after_seconds == 1
    assert (b"x-ratelimit-remaining-requests", b"0") in caught.value.headers
    made.enter(gates, 0, 1.0)


def test_tokens_are_settled_by_what_was_used() -> None:
    made, gates = limits(LimitRule("key", "key_1", tokens_per_minute=1_000))
    made.enter(gates, 900, 0.0)
    with pytest.raises(RateLimited, match="tokens a minute"):
        made.enter(gates, 200, 0.0)
    made.leave(gates, 900, 100)
    made.enter(gates, 900, 0.0)
    made.leave(gates, 900, 2_000)
    with pytest.raises(RateLimited):
        made.enter(gates, 1, 30.0)


def test_a_call_larger_than_the_whole_limit_is_told_not_to_try_again() -> None:
    made, gates = limits(LimitRule("key", "key_1", tokens_per_minute=1_000))
    with pytest.raises(RateLimited) as caught:
        made.enter(gates, 1_001, 0.0)
    assert caught.value.should_retry is False


def test_calls_at_once_are_counted_and_given_back() -> None:
    made, gates = limits(LimitRule("organisation", "acme", concurrency=2))
    made.enter(gates, 0, 0.0)
    made.enter(gates, 0, 0.0)
    with pytest.raises(RateLimited, match="2 calls at once"):
        made.enter(gates, 0, 0.0)
    made.leave(gates, 0, 0)
    made.enter(gates, 0, 0.0)


def test_a_refused_call_takes_nothing_of_the_other_limits() -> None:
    made, gates = limits(
        LimitRule("team", "support", requests_per_minute=10), LimitRule("key", "key_1", requests_per_minute=1)
    )
    made.enter(gates, 0, 0.0)
    for _ in range(20):
        with pytest.raises(RateLimited, match="'key_1'"):
            made.enter(gates, 0, 0.0)
    team = next(gate for gate in gates if gate.rule.scope == "team")
    assert team.requests is not None
    assert (team.requests.left, team.in_flight) == (9, 1)


@given(st.integers(1, 50), st.integers(1, 9))
def test_the_parts_of_all_replicas_are_never_more_than_the_whole(whole: int, replicas: int) -> None:
    """Losing sight of the others would make it N times the limit; a part each never does."""
    entered = 0
    at_once = 0
    for rank in range(replicas):
        made, gates = limits(
            LimitRule("team", "support", requests_per_minute=whole, concurrency=10**6), rank=rank, replicas=replicas
        )
        try:
            while True:
                made.enter(gates, 0, 0.0)
                entered += 1
        except RateLimited:
            pass
        made, gates = limits(LimitRule("team", "support", concurrency=whole), rank=rank, replicas=replicas)
        at_once += gates[0].concurrency or 0
    # A part that is less than a call lets one in all the same, and takes longer to the next.
    assert entered <= max(whole, replicas)
    assert at_once == whole


def test_what_is_used_stays_used_when_the_number_of_replicas_changes() -> None:
    made, gates = limits(LimitRule("team", "support", requests_per_minute=60))
    for _ in range(50):
        made.enter(gates, 0, 0.0)
    made.place(0, 2, 0.0)
    with pytest.raises(RateLimited):
        made.enter(gates, 0, 0.0)
    made.place(0, 1, 0.0)
    with pytest.raises(RateLimited):
        made.enter(gates, 0, 0.0)


def test_a_call_larger_than_a_part_of_the_limit_is_let_in_and_paid_off() -> None:
    """Four processes of 10,000 tokens a minute: a call of 3,000 is within the limit, and no part has as much."""
    made, gates = limits(LimitRule("key", "key_1", tokens_per_minute=10_000), replicas=4)
    made.enter(gates, 3_000, 0.0)
    with pytest.raises(RateLimited):
        made.enter(gates, 3_000, 60.0)
    made.enter(gates, 3_000, 75.0)


def test_fewer_requests_than_processes_are_not_refused_for_ever() -> None:
    made, gates = limits(LimitRule("team", "support", requests_per_minute=3), replicas=4)
    made.enter(gates, 0, 0.0)
    with pytest.raises(RateLimited, match="3 requests a minute"):
        made.enter(gates, 0, 60.0)
    made.enter(gates, 0, 81.0)
