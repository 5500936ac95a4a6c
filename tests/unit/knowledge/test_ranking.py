import numpy as np
import pytest

from gateway.knowledge.ranking import (
    Posting,
    Ranking,
    VectorEvidence,
    merge_rankings,
    rank_both,
    rank_words,
    rarity,
    weigh_words,
)


def post(ids: list[int], frequency: list[float]) -> Posting:
    return Posting(np.array(ids, np.int64), np.array(frequency, np.float64))


def test_rare_words_weigh_more_and_unknown_ones_most() -> None:
    weights = [rarity(1000, holding) for holding in (0, 1, 10, 500, 1000)]
    assert weights == sorted(weights, reverse=True)
    assert weights[-1] > 0


def test_a_chunk_with_every_word_scores_high_and_one_with_a_stray_word_low() -> None:
    everything = rank_words(weigh_words([post([5], [1.0]), post([5, 9], [1.0, 1.0]), post([5], [1.0])], 1000), 10)
    assert everything.ids[0] == 5
    assert everything.scores[0] > 0.8
    stray = rank_words(weigh_words([post([], []), post([9], [2.0]), post([], [])], 1000), 10)
    assert stray.scores[0] < 0.35


def test_a_word_said_often_does_not_stand_in_for_the_others() -> None:
    often = weigh_words([post([1], [2.2]), post([], []), post([], []), post([], [])], 1000)
    assert rank_words(often, 1).scores[0] < 0.4


def test_no_word_found_gives_no_hit() -> None:
    assert len(rank_words(weigh_words([post([], [])], 1000), 5).ids) == 0
    assert len(rank_words(weigh_words([], 0), 5).ids) == 0


def test_scores_fall_and_ties_go_to_the_lower_id() -> None:
    ranking = rank_words(weigh_words([post([1, 3, 4, 8, 9], [1, 2, 1, 1, 1])], 100), 3)
    assert ranking.ids.tolist() == [3, 1, 4]
    assert ranking.scores.tolist() == sorted(ranking.scores.tolist(), reverse=True)


def test_words_and_vectors_each_lift_their_chunk() -> None:
    words = weigh_words([post([1, 2], [2.0, 0.5])], 50)
    cosine = np.array([0.9, 0.1, 0.8], np.float32)
    vectors = VectorEvidence(np.array([2, 3, 4], np.int64), cosine, 0.2, 0.7)
    ranking = rank_both(words, vectors, 10)
    assert set(ranking.ids.tolist()[:2]) == {1, 2}
    assert set(ranking.ids.tolist()) == {1, 2, 3, 4}
    assert 0 < ranking.scores[0] <= 1


def test_the_fusion_is_the_even_mix_of_min_max_scaled_values() -> None:
    words = weigh_words([post([1, 2, 3], [2.0, 1.0, 0.5])], 50)
    vectors = VectorEvidence(np.array([1, 2, 3], np.int64), np.array([0.0, 0.6, 0.4], np.float32), 0.0, 1.0)
    ranking = rank_both(words, vectors, 10)
    fused = {1: 0.5, 2: 0.5 * (0.5 / 1.5) + 0.5, 3: 0.5 * (0.4 / 0.6)}
    expected = sorted(fused, key=lambda n: -fused[n])
    assert ranking.ids.tolist() == expected
    ratios = ranking.scores / ranking.scores[0]
    assert ratios == pytest.approx([fused[n] / fused[expected[0]] for n in expected], abs=1e-6)


def test_one_chunk_alone_is_still_found() -> None:
    words = weigh_words([post([7], [1.0])], 1)
    vectors = VectorEvidence(np.array([7], np.int64), np.array([0.9], np.float32), 0.2, 0.7)
    assert rank_both(words, vectors, 3).ids.tolist() == [7]


def test_vectors_far_from_the_question_give_a_low_score() -> None:
    nothing = weigh_words([post([], [])], 50)
    ids = np.arange(20, dtype=np.int64)
    far = VectorEvidence(ids, np.linspace(0.0, 0.2, 20, dtype=np.float32), 0.25, 0.7)
    near = VectorEvidence(ids, np.linspace(0.0, 0.7, 20, dtype=np.float32), 0.25, 0.7)
    low, high = rank_both(nothing, far, 3), rank_both(nothing, near, 3)
    assert (low.scores[0] if len(low.ids) else 0.0) < 0.1
    assert high.scores[0] == pytest.approx(0.5)


def test_merging_takes_the_best_of_all() -> None:
    one = Ranking(np.array([1, 2], np.int64), np.array([0.9, 0.2]))
    other = Ranking(np.array([11, 12], np.int64), np.array([0.5, 0.4]))
    assert merge_rankings([one, other], 3).ids.tolist() == [1, 11, 12]
    assert len(merge_rankings([], 3).ids) == 0
