from gateway.upstream.breaker import FAILURES, OPEN_SECONDS, Breaker, State


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
        assert breaker.admits()
        breaker.failed()
    return breaker, clock


def test_opens_after_failures_in_a_row_and_not_one_before() -> None:
    breaker = Breaker(Hand())
    for _ in range(FAILURES - 1):
        breaker.failed()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    assert breaker.state is State.OPEN


def test_a_success_between_failures_starts_the_count_anew() -> None:
    breaker = Breaker(Hand())
    for _ in range(10):
        for _ in range(FAILURES - 1):
            breaker.failed()
        breaker.succeeded()
    assert breaker.state is State.CLOSED


def test_after_its_time_one_call_goes_through_and_no_second() -> None:
    breaker, clock = opened()
    clock.at += OPEN_SECONDS - 0.01
    assert not breaker.admits()
    clock.at += 0.01
    states = [breaker.state]
    assert breaker.admits()
    assert not breaker.admits()
    breaker.succeeded()
    states.append(breaker.state)
    assert states == [State.HALF_OPEN, State.CLOSED]
    assert breaker.admits()


def test_a_probe_that_fails_opens_it_for_another_while() -> None:
    breaker, clock = opened()
    clock.at += OPEN_SECONDS
    assert breaker.admits()
    breaker.failed()
    assert breaker.state is State.OPEN
    clock.at += OPEN_SECONDS - 0.01
    assert not breaker.admits()
    clock.at += 0.01
    assert breaker.admits()


def test_a_probe_whose_caller_left_lets_the_next_one_probe() -> None:
    """Else a breaker would stay open for ever after one impatient caller."""
    breaker, clock = opened()
    clock.at += OPEN_SECONDS
    assert breaker.admits()
    breaker.released()
    assert breaker.admits()
