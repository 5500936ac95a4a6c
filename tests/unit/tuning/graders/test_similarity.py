"""Similarity by recorded figures: of RapidFuzz 3 (WRatio), rouge-score 0.1 and NLTK 3 (BLEU method 2, GLEU, METEOR)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tuning.graders.fuzzy import TooLong, common_length, partial_ratio, weighted_ratio
from gateway.tuning.graders.overlap import bleu, gleu, meteor, rouge, rouge_l

FIGURES = [
    # text, reference, WRatio, ROUGE-1, ROUGE-2, ROUGE-L, GLEU, BLEU, METEOR (exact words alone)
    (
        "A refund takes five days.",
        "A refund takes 5 business days.",
        (0.844444, 0.727273, 0.444444, 0.727273, 0.409091, 0.410960, 0.635593),
    ),
    ("the cat sat on the mat", "on the mat sat the cat", (0.95, 1, 0.6, 0.5, 0.555556, 0.508133, 0.5)),
    ("yes", "no", (0, 0, 0, 0, 0, 0, 0)),
    (
        "Refunds are paid back to the card within five business days after we received the parcel",
        "five business days",
        (0.9, 0.315789, 0.235294, 0.315789, 0.103448, 0.135271, 0.684755),
    ),
    ("abc", "abcd", (0.857143, 0, 0, 0, 0, 0, 0)),
    (
        "new york mets vs atlanta braves",
        "atlanta braves vs new york mets",
        (0.95, 1, 0.6, 0.5, 0.555556, 0.508133, 0.9375),
    ),
]


@pytest.mark.parametrize(("text", "reference", "figures"), FIGURES)
def test_the_figures_are_those_of_the_fields_libraries(text: str, reference: str, figures: tuple[float, ...]) -> None:
    found = (
        weighted_ratio(text, reference),
        rouge(text, reference, 1),
        rouge(text, reference, 2),
        rouge_l(text, reference),
        gleu(text, reference),
        bleu(text, reference),
        meteor(text, reference),
    )
    assert found == pytest.approx(figures, abs=1e-6)


MEASURES = (weighted_ratio, bleu, gleu, meteor, rouge_l, lambda a, b: rouge(a, b, 1), lambda a, b: rouge(a, b, 5))


@given(st.text(max_size=30), st.text(max_size=30))
def test_every_measure_lies_between_0_and_1(text: str, reference: str) -> None:
    for measure in MEASURES:
        assert 0 <= measure(text, reference) <= 1 + 1e-9


@given(st.text(alphabet="ab ", min_size=1, max_size=20).filter(str.strip))
def test_equal_texts_are_as_alike_as_can_be(text: str) -> None:
    for measure in (weighted_ratio, gleu, rouge_l):
        assert measure(text, text) == pytest.approx(1)


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_the_common_subsequence_is_the_longest(one: list[int], other: list[int]) -> None:
    """Against the table that everybody knows."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    assert common_length(one, other) == table[-1][-1]


def test_a_comparison_that_would_take_seconds_is_refused() -> None:
    with pytest.raises(TooLong):
        partial_ratio("ab" * 2_000, "ba" * 6_000)
