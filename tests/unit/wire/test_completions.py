from typing import Any

import pytest

from tests.fakes.calls import read

PATH = "/v1/completions"


@pytest.mark.parametrize(
    ("prompt", "text", "choices"),
    [
        ("Once", "Once", 1),
        (["Once", "Twice"], "Once\nTwice", 2),
        ([1, 2, 3], "", 1),
        ([[1, 2], [3], [4]], "", 3),
        ([], "", 1),
        (None, "", 1),
    ],
)
def test_a_batch_of_prompts_is_as_many_answers(prompt: Any, text: str, choices: int) -> None:
    call = read({"model": "m", "prompt": prompt}, PATH)
    assert (call.text, call.choices) == (text, choices)


def test_best_of_is_paid_for_and_the_default_limit_is_openais() -> None:
    call = read({"model": "m", "prompt": ["a", "b"], "n": 2, "best_of": 5}, PATH)
    assert (call.choices, call.output_limit) == (10, 16)
    assert read({"model": "m", "prompt": "a", "max_tokens": 9}, PATH).output_limit == 9
