"""What belongs together stays on one side, and the same seed parts the same file the same way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.tuning.datasets.provenance import Provenance, row_hash
from gateway.tuning.datasets.rows import read_row
from gateway.tuning.datasets.splitting import Groups, for_validation
from tests.fakes.training_rows import Json, chat, distinct, linted, said, talk


def grouped(rows: list[Json], provenance: dict[str, Provenance] | None = None) -> list[int]:
    groups = Groups(provenance or {})
    for number, row in enumerate(rows):
        groups.add(read_row(number + 1, "", row))
    return groups.found()


@given(st.lists(st.integers(0, 12), min_size=2, max_size=80), st.floats(0.01, 0.9), st.integers(0, 5))
def test_no_group_is_in_both_and_neither_side_is_empty(groups: list[int], share: float, seed: int) -> None:
    if len(set(groups)) < 2:
        with pytest.raises(InvalidRequest):
            for_validation(groups, share, seed)
        return
    sides = for_validation(groups, share, seed)
    held = {group for group, side in zip(groups, sides, strict=True) if side}
    trained = {group for group, side in zip(groups, sides, strict=True) if not side}
    assert held
    assert trained
    assert not held & trained
    assert sides == for_validation(groups, share, seed)


def test_about_the_share_that_was_asked_for_is_held_back() -> None:
    sides = for_validation(list(range(1_000)), 0.1, 0)
    assert sum(sides) == 100
    assert sides != for_validation(list(range(1_000)), 0.1, 1)
    assert sum(for_validation([1, 2, 3], 0.01, 0)) == 1


def test_rows_of_one_conversation_one_prompt_or_nearly_the_same_words_are_one_group() -> None:
    start = said("user", "Hello, my parcel has not come, and I have waited for two weeks now.")
    rows = [
        chat(start["content"], "I am sorry to hear that."),
        talk(start, said("assistant", "Which one?"), said("user", "The blue one"), said("assistant", "I see.")),
        chat(start["content"].replace("two", "two "), "I am sorry to hear that!"),
        chat("Something else altogether?", "No."),
    ]
    found = grouped(rows)
    assert found[0] == found[1] == found[2] != found[3]


def test_a_group_of_the_provenance_joins_what_words_do_not() -> None:
    one, other, third = distinct(3)
    told = {row_hash(row): Provenance(row_hash(row), group=group) for row, group in ((one, "t"), (third, "t"))}
    found = grouped([one, other, third], told)
    assert found[0] == found[2] != found[1]


def test_what_was_parted_shares_nothing_that_lint_could_find() -> None:
    rows = [*distinct(60), *distinct(30)]
    for number in range(20):
        rows.append(chat(f"Where is the parcel with the number {number % 4} that I ordered?", f"On its way, {number}."))
    sides = for_validation(grouped(rows), 0.2, 3)
    train = [row for row, side in zip(rows, sides, strict=True) if not side]
    held = [row for row, side in zip(rows, sides, strict=True) if side]
    told = linted(*train, validation=held)
    assert not {"Q004", "Q020", "Q021", "Q022"} & dict(told.counts).keys()
