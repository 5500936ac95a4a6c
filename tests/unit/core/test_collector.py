"""The collector looks seldom while a process starts, and as usual afterwards."""

import gc
from collections.abc import Iterator

import pytest

from gateway.core import collector


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    usual = gc.get_threshold()
    yield
    gc.set_threshold(*usual)


def test_a_start_is_left_alone_and_what_it_made_is_not_looked_at_again() -> None:
    collector.begin()
    assert gc.get_threshold()[0] == collector.STARTING
    collector.settle()
    assert gc.get_threshold()[0] < 10_000
    assert gc.get_freeze_count() > 10_000
