"""Which captured calls become training rows, and which answers become pairs."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from gateway.tuning.captured.examples import Examples, Terms
from tests.fakes.captured import captured, said


def messages(row: dict[str, Any]) -> list[str]:
    return [str(one["content"]) for one in row["messages"]]


def test_a_call_is_a_row_as_it_was_asked_and_answered() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    built = Examples(Terms()).row(captured(1, "Where?", "Here.", tools=json.dumps(tools)), None)
    assert built is not None
    assert messages(dict(built.row)) == ["Be kind.", "Where?", "Here."]
    assert built.row["tools"] == tools
    assert (built.provenance.source, built.provenance.id) == ("ledger", "call_1")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"status": 499}, "an error, or its caller left"),
        ({"finish_reason": "length"}, "cut off at its limit"),
        ({"finish_reason": ""}, "not ended of itself"),
        ({"finish_reason": "content_filter"}, "not ended of itself"),
        ({"path": "rag"}, "answered from documents"),
        ({"answer": '{"role":"assistant","content":""}'}, "nothing answered"),
        ({"answer": '{"role":"assistant","content":null,"refusal":"No."}'}, "refused by the model"),
    ],
)
def test_what_nobody_should_learn_is_left_out_and_counted(fields: dict[str, Any], why: str) -> None:
    examples = Examples(Terms())
    assert examples.row(msgspec.structs.replace(captured(1), **fields), None) is None
    assert examples.left_out == Counter([why])


def test_what_was_said_decides() -> None:
    examples = Examples(Terms())
    assert examples.row(captured(1), said(1, -1)) is None
    mended = examples.row(captured(2), said(2, -1, "So it should be."))
    assert mended is not None
    assert messages(dict(mended.row))[-1] == "So it should be."
    assert examples.row(captured(3), None) is not None
    picky = Examples(Terms(only_positive=True))
    taken = [picky.row(captured(number), one) for number, one in ((1, None), (2, said(2, 0)), (3, said(3, 1)))]
    assert [one is not None for one in taken] == [False, False, True]


def test_the_same_row_is_taken_once() -> None:
    examples = Examples(Terms())
    assert examples.row(captured(1, "a", "b"), None) is not None
    assert examples.row(captured(2, "a", "b"), None) is None
    assert examples.left_out["the same as another"] == 1


def test_a_call_that_was_stored_as_it_came_is_redacted_now() -> None:
    call = captured(1, "I am a@example.org", is_redacted=False)
    built = Examples(Terms()).row(call, None)
    assert built is not None
    assert messages(dict(built.row))[1] == "I am <EMAIL_1>"
    raw = Examples(Terms(redacts=False)).row(call, None)
    assert raw is not None
    assert messages(dict(raw.row))[1] == "I am a@example.org"


def test_pairs_come_of_corrections_and_of_liked_and_disliked_answers_to_one_prompt() -> None:
    examples = Examples(Terms())
    calls = [
        (captured(1, "a", "bad"), said(1, -1, "good")),
        (captured(2, "b", "better"), said(2, 1)),
        (captured(3, "b", "worse"), said(3, -1)),
        (captured(4, "c", "liked, and nothing to compare with"), said(4, 1)),
        (captured(5, "d", "nobody said"), None),
        (captured(6, "e", "same"), said(6, -1, "same")),
    ]
    pairs = [built.row for built in examples.pairs(calls)]
    assert [one["preferred_output"][0]["content"] for one in pairs] == ["good", "better"]  # type: ignore[index]  # rows are JSON
    assert [one["non_preferred_output"][0]["content"] for one in pairs] == ["bad", "worse"]  # type: ignore[index]  # the same
    assert examples.left_out == {"nothing was said of it": 1, "both answers are the same": 1}
