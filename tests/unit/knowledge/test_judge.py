import pytest

from gateway.knowledge.context import Source
from gateway.knowledge.judge import judge_messages, read_judgement
from tests.fakes.injections import ATTEMPTS, KEY


@pytest.mark.parametrize(
    ("said", "score"),
    [("7", 0.7), (" 10.", 1.0), ("0", 0.0), ("Score: 4", 0.4), ("", None), ("seven", None), ("7 or 8", None),
     ("11", None), ("7.5", None)],
)  # fmt: skip
def test_a_judgement_is_one_whole_number_up_to_ten(said: str, score: float | None) -> None:
    assert read_judgement(said) == score


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=range(len(ATTEMPTS)))
def test_nothing_that_is_judged_leaves_its_place(attempt: str) -> None:
    source = Source(1, "help", "a", "v1", "A", attempt, 0.9)
    _, shown = judge_messages(attempt, attempt, [source], KEY)
    assert shown["content"].count(KEY) == 4
    names = [line for line in shown["content"].split("\n") if KEY in line]
    assert names == [f"=== {name} {KEY} ===" for name in ("question", "document 1", "answer", "end")]
