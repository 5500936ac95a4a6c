import numpy as np
import pytest

from gateway.knowledge.matrix import Matrix
from gateway.knowledge.measure import LOOKED_AT, MOST_STRENGTH, Measured, evidence, measured
from gateway.knowledge.ranking import VectorEvidence, WordEvidence
from gateway.policy.weights import KNOWLEDGE_MEANING, KNOWLEDGE_WORDS

NO_WORDS = WordEvidence(np.empty(0, np.int64), np.empty(0), np.empty(0), 0.0)


def words(strength: list[float], coverage: list[float] | None = None, mass: float = 2.0) -> WordEvidence:
    ids = np.arange(len(strength), dtype=np.int64)
    return WordEvidence(ids, np.array(strength), np.array(strength if coverage is None else coverage), mass)


def vectors(*cosine: float, unrelated: float = 0.2, neighbouring: float = 0.6) -> VectorEvidence:
    rows: Matrix = np.array(cosine, np.float32)
    return VectorEvidence(np.arange(len(cosine), dtype=np.int64), rows, unrelated, neighbouring)


def test_evidence_has_exactly_the_names_that_weights_know() -> None:
    by_words = measured(words([0.5]), None)
    assert {name for name, _ in evidence(by_words, by_words)} == KNOWLEDGE_WORDS.keys()
    by_both = measured(words([0.5]), vectors(0.4))
    assert {name for name, _ in evidence(by_both, by_both)} == KNOWLEDGE_WORDS.keys() | KNOWLEDGE_MEANING.keys()


def test_the_turn_and_the_talk_are_told_apart() -> None:
    turn, talk = Measured(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), Measured(0.7, 0.8, 0.9, 1.0, 0.11, 0.12)
    told = dict(evidence(turn, talk))
    assert [told[f"turn_{name}"] for name in ("confidence", "coverage", "strength", "weight")] == [0.1, 0.2, 0.3, 0.4]
    assert [told[f"talk_{name}"] for name in ("confidence", "coverage", "strength", "weight")] == [0.7, 0.8, 0.9, 1.0]
    assert (told["turn_meaning"], told["turn_meaning_relative"]) == (0.5, 0.6)
    assert (told["talk_meaning"], told["talk_meaning_relative"]) == (0.11, 0.12)


def test_nothing_found_shows_nothing() -> None:
    assert measured(NO_WORDS, None) == Measured()
    assert measured(NO_WORDS, vectors()) == Measured()
    assert set(dict(evidence(Measured(), Measured())).values()) == {0.0}


def test_a_passage_that_holds_more_of_the_words_shows_more() -> None:
    little, much = measured(words([0.1, 0.05]), None), measured(words([0.9, 0.05]), None)
    for name in ("confidence", "coverage", "strength", "weight"):
        assert 0 < getattr(little, name) < getattr(much, name), name


def test_words_that_are_rarer_weigh_more() -> None:
    assert measured(words([0.5], mass=0.5), None).weight < measured(words([0.5], mass=3.0), None).weight < 1


def test_numbers_stay_within_their_bounds() -> None:
    found = measured(words([50.0, 2.0], coverage=[7.0, 1.0], mass=100.0), vectors(1.0))
    assert (found.strength, found.coverage) == (MOST_STRENGTH, 1.0)
    assert 0 <= found.confidence <= 1
    assert 0 <= found.weight <= 1


def test_coverage_is_that_of_the_strongest_passages() -> None:
    """A passage far down may cover every word and say nothing."""
    strength = [1.0 - n / 100 for n in range(LOOKED_AT)] + [0.001]
    covered = [0.3] * LOOKED_AT + [1.0]
    assert measured(words(strength, covered), None).coverage == pytest.approx(0.3)


def test_meaning_is_the_nearest_passage_and_its_place_on_the_collections_scale() -> None:
    found = measured(NO_WORDS, vectors(0.1, 0.4, 0.3))
    assert found.meaning == pytest.approx(0.4)
    assert found.relative == pytest.approx(0.5)
    same = measured(NO_WORDS, vectors(0.4, unrelated=0.4, neighbouring=0.4))
    assert same.relative is not None
    assert np.isfinite(same.relative)
