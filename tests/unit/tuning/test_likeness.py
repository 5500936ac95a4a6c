import numpy as np
import pytest

from gateway.tuning.likeness import (
    LOOKED_AT,
    PLACES,
    Likeness,
    Matrix,
    compared,
    counts,
    likeness_of,
    rarities,
    unit_rows,
)

EVEN = np.ones(PLACES, np.float32)
TEXTS = (
    "Please answer this complaint: the mug arrived broken.",
    "Write back to a customer who got the wrong size.",
    "Please answer this complaint: the parcel was late.",
    "Reply to a customer whose refund is missing.",
)


def rows_of(*texts: str) -> Matrix:
    return unit_rows([counts(text) for text in texts], EVEN)


def likeness(*texts: str) -> Likeness:
    return likeness_of(rows_of(*texts))


def test_rows_have_unit_length_and_a_text_without_words_is_nothing() -> None:
    rows = rows_of("refunds take ten days", "", "?! ...", "a")
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 0, 0, 1], abs=1e-5)
    assert counts("") == counts("?! ...") == {}


def test_likeness_is_the_cosine_of_the_rows() -> None:
    weights = rarities(counts(text) for text in TEXTS)
    rows = unit_rows([counts(text) for text in TEXTS], weights)
    with_rows = likeness_of(rows)
    for place, text in enumerate(TEXTS):
        found = compared(counts(text), weights, with_rows)
        assert found == pytest.approx(rows @ rows[place], abs=1e-5)
        assert found.argmax() == place


def test_forms_of_a_word_are_alike_and_other_words_are_not() -> None:
    refund, other = compared(counts("a refund"), EVEN, likeness("two refunds", "the weather today"))
    assert refund > 0.2
    assert other < 0.05


def test_a_text_without_words_is_like_nothing() -> None:
    assert compared({}, EVEN, likeness(*TEXTS)).tolist() == [0.0] * len(TEXTS)
    assert compared(counts("refund"), EVEN, likeness("", "?")).tolist() == [0.0, 0.0]


def test_words_that_every_example_has_tell_less_than_rare_ones_and_still_mark_the_line() -> None:
    weights = rarities([counts("please refund"), counts("please reply"), counts("please")])
    common, rare, unknown = (next(iter(counts(word))) for word in ("please", "refund", "wombat"))
    assert weights[unknown] > weights[rare] > weights[common] > 1


def test_one_example_has_the_widest_scale() -> None:
    alone = likeness("Please answer this complaint.")
    assert (alone.unrelated, alone.typical) == (0.0, 1.0)
    assert alone.nearest(compared(counts("Please answer this complaint."), EVEN, alone)) == pytest.approx(1, abs=1e-5)


def test_examples_are_measured_among_themselves_and_never_with_themselves() -> None:
    close = likeness("the cat sat here", "the cat sat there", "the cat sat where")
    apart = likeness("the cat sat", "green ideas sleep", "how much is this")
    assert 0.3 < close.unrelated < 1
    assert apart.unrelated < 0.2
    assert close.typical > apart.typical
    assert likeness("", "").unrelated == 0.0


def test_nearest_is_the_mean_of_the_five_best_or_of_all_there_are() -> None:
    made = likeness(*TEXTS)
    assert made.nearest(np.array([0.1, 0.9, 0.5, 0.5, 0.5, 0.6, 0.2], np.float32)) == pytest.approx(0.6)
    assert made.nearest(np.array([0.2, 0.4], np.float32)) == pytest.approx(0.3)
    assert made.nearest(np.array([], np.float32)) == 0.0


def test_the_relative_scale_goes_from_unrelated_to_typical_and_not_far_beyond() -> None:
    made = Likeness(np.zeros((2, 1), np.float32), unrelated=0.2, typical=0.6)
    assert [made.relative(at) for at in (0.2, 0.4, 0.6)] == pytest.approx([0, 0.5, 1])
    assert (made.relative(9.0), made.relative(-9.0)) == (2.0, -1.0)
    same = Likeness(np.zeros((2, 1), np.float32), unrelated=0.5, typical=0.5)
    assert same.relative(0.5) == 0.0


def test_only_the_beginning_of_a_long_text_is_read() -> None:
    beginning = "wort " * (LOOKED_AT // 5)
    assert counts(beginning + "refund " * 1000) == counts(beginning)
    assert counts("half a pair \ud83d") == counts("half a pair \ud83d")
