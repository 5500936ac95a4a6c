"""Vectors that are near where texts are alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.offline.embeddings import vector_of


@given(st.text(max_size=80), st.sampled_from([1, 8, 256, 1536]))
def test_every_vector_has_unit_length_and_is_the_same_twice(text: str, dimensions: int) -> None:
    vector = vector_of(text, dimensions)
    assert vector.shape == (dimensions,)
    assert vector.dtype == np.float32
    assert float(np.linalg.norm(vector)) == pytest.approx(1.0, abs=1e-5)
    assert np.array_equal(vector, vector_of(text, dimensions))


def test_similar_texts_are_nearer_than_others() -> None:
    question = vector_of("How long does a refund take?", 512)
    near = vector_of("Refunds take five business days to arrive.", 512)
    far = vector_of("The office is closed on public holidays.", 512)
    assert float(question @ near) > float(question @ far) + 0.1
