from collections.abc import Callable

import pytest

from gateway.upstream.breaker import (
    FAILING_CALLS,
    FAILURES,
    LONGEST_OPEN_SECONDS,
    OPEN_SECONDS,
    WINDOW_SECONDS,
    Breaker,
    State,
    Window,
)


class Hand:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def opened() -> tuple[Breaker, Hand]:
    clock = Hand()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert breaker.admits() == 0
        breaker.failed(0)
    return breaker, clock


def probing() -> tuple[Breaker, Hand, int]:
    breaker, clock = opened()
    clock.at += OPEN_SECONDS
    ticket = breaker.admits()
    assert ticket
    return breaker, clock, ticket


def test_opens_after_failures_in_a_row_and_not_one_before() -> None:
    breaker = Breaker(Hand())
    for _ in range(FAILURES - 1):
        breaker.failed(0)
    assert breaker.admits() == 0
    breaker.failed(0)
    assert breaker.admits() is None
    assert breaker.state is State.OPEN


def test_a_success_between_failures_starts_the_count_anew() -> None:
    breaker = Breaker(Hand())
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breaker.failed(0)
        breaker.succeeded(0)
    assert breaker.state is State.CLOSED


def test_a_target_that_fails_half_of_the_time_is_left_alone_too() -> None:
    """It never fails five times in a row, and yet every second caller waits for nothing."""
    breaker = Breaker(Hand())
    for _ in range(FAILING_CALLS // 2 - 1):
        breaker.succeeded(0)
        breaker.failed(0)
    states = [breaker.state]
    breaker.succeeded(0)
    breaker.failed(0)
    states.append(breaker.state)
    assert states == [State.CLOSED, State.OPEN]


def test_a_target_that_fails_now_and_then_is_not() -> None:
    breaker = Breaker(Hand())
    for _ in range(FAILING_CALLS):
        breaker.succeeded(0)
        breaker.succeeded(0)
        breaker.failed(0)
    assert breaker.state is State.CLOSED


def test_failures_of_long_ago_do_not_count() -> None:
    clock = Hand()
    breaker = Breaker(clock)
    for _ in range(FAILING_CALLS):
        breaker.succeeded(0)
        breaker.failed(0)
        clock.at += 1.5
    assert breaker.state is State.CLOSED


def test_after_its_time_one_call_goes_through_and_no_second() -> None:
    breaker, clock = opened()
    clock.at += OPEN_SECONDS - 0.01
    assert breaker.admits() is None
    assert breaker.seconds_left == pytest.approx(0.01)
    clock.at += 0.01
    states = [breaker.state]
    ticket = breaker.admits()
    assert ticket
    assert breaker.admits() is None
    states.append(breaker.state)
    breaker.succeeded(ticket)
    states.append(breaker.state)
    assert states == [State.HALF_OPEN, State.HALF_OPEN, State.CLOSED]
    assert breaker.admits() == 0
    assert breaker.seconds_left == 0


@pytest.mark.parametrize("end", [Breaker.released, Breaker.failed, Breaker.succeeded])
def test_the_end_of_a_call_from_before_lets_no_second_probe_through(end: Callable[[Breaker, int], None]) -> None:
    """It was admitted when all was well, and knows nothing of what the probe will find."""
    breaker, clock, ticket = probing()
    end(breaker, 0)
    states = [breaker.state]
    assert breaker.admits() is None
    clock.at += 5 * OPEN_SECONDS
    assert breaker.admits() is None
    breaker.succeeded(ticket)
    states.append(breaker.state)
    assert states == [State.HALF_OPEN, State.CLOSED]


@pytest.mark.parametrize("end", [Breaker.released, Breaker.failed, Breaker.succeeded])
def test_a_probe_that_is_over_is_no_probe_any_more(end: Callable[[Breaker, int], None]) -> None:
    breaker, _, first = probing()
    breaker.released(first)
    second = breaker.admits()
    assert second != first
    end(breaker, first)
    assert breaker.state is State.HALF_OPEN
    assert breaker.admits() is None


def test_a_late_failure_does_not_make_it_wait_longer() -> None:
    breaker, clock = opened()
    clock.at += OPEN_SECONDS - 1
    breaker.failed(0)
    clock.at += 1
    assert breaker.admits()


def test_each_probe_that_fails_doubles_the_wait_up_to_a_minute() -> None:
    breaker, clock, ticket = probing()
    waits = []
    for _ in range(5):
        breaker.failed(ticket)
        assert breaker.state is State.OPEN
        waits.append(breaker.seconds_left)
        clock.at += waits[-1] - 0.01
        assert breaker.admits() is None
        clock.at += 0.02
        ticket = breaker.admits() or 0
        assert ticket
    assert waits == pytest.approx([20, 40, *[LONGEST_OPEN_SECONDS] * 3])
    breaker.succeeded(ticket)
    for _ in range(FAILURES):
        breaker.failed(0)
    assert breaker.seconds_left == OPEN_SECONDS


def test_what_it_did_before_it_was_mended_is_forgotten() -> None:
    breaker = Breaker(clock := Hand())
    for _ in range(FAILING_CALLS):
        breaker.succeeded(0)
        breaker.failed(0)
    assert breaker.admits() is None
    # The window is as long as the wait: with an earlier probe its failures would still stand in it.
    clock.at += OPEN_SECONDS
    ticket = breaker.admits()
    assert ticket
    breaker.succeeded(ticket)
    breaker.failed(0)
    assert breaker.state is State.CLOSED


def test_a_probe_whose_caller_left_lets_the_next_one_probe() -> None:
    """Else a breaker would stay open for ever after one impatient caller."""
    breaker, _, ticket = probing()
    breaker.released(ticket)
    assert breaker.admits()


def test_a_window_holds_what_is_younger_than_it() -> None:
    window = Window(clock := Hand())
    for _ in range(3 * WINDOW_SECONDS):
        window.add(2, 1)
        clock.at += 1
    assert window.sums() == (2 * (WINDOW_SECONDS - 1), WINDOW_SECONDS - 1)
    clock.at += WINDOW_SECONDS
    assert window.sums() == (0, 0)
