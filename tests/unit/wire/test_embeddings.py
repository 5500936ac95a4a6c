from typing import Any

import pytest

from tests.fakes.calls import read


@pytest.mark.parametrize(
    ("given", "text"), [("a", "a"), (["a", "b"], "a\nb"), ([1, 2], ""), ([[1], [2]], ""), (None, "")]
)
def test_inputs_of_any_shape_are_read_and_no_output_is_reserved(given: Any, text: str) -> None:
    call = read({"model": "m", "input": given}, "/v1/embeddings")
    assert (call.text, call.output_limit, call.stream) == (text, 0, False)
