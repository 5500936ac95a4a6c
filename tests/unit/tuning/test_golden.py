"""A golden set is named by what it holds, and says all that is wrong with a file at once."""

import json

import pytest

from gateway.core.errors import InvalidRequest
from gateway.tuning.golden import GoldenItem, Recording, default_grader, golden_text, read_golden, set_hash, shared
from tests.fakes.captured import captured, said


def recorded(*pairs: tuple[str, str]) -> list[GoldenItem]:
    recording = Recording()
    for number, (question, answer) in enumerate(pairs):
        recording.add((captured(number, question, answer), None))
    return recording.items(100)


def test_a_set_reads_back_as_it_was_written_in_any_order() -> None:
    items = recorded(("a", "1"), ("b", "2"), ("c", "3"))
    text = golden_text(items)
    assert read_golden(text) == items
    backwards = b"".join(reversed(text.splitlines(keepends=True)))
    assert read_golden(backwards) == items
    assert set_hash(read_golden(backwards)) == set_hash(items)
    assert set_hash(items) != set_hash(recorded(("a", "1"), ("b", "2"), ("c", "4")))


def test_the_newest_answer_to_a_question_and_its_correction_count() -> None:
    recording = Recording()
    recording.add((captured(1, "a", "old"), None))
    recording.add((captured(2, "a", "new"), None))
    recording.add((captured(3, "b", "bad"), said(3, -1, "as it should be")))
    recording.add((captured(4, "c", "bad"), said(4, -1)))
    assert {item.reference for item in recording.items(9)} == {"new", "as it should be"}
    assert recording.left_out == {"asked before": 1, "said to be bad": 1}


def test_what_was_stored_as_it_came_is_redacted_all_the_same() -> None:
    recording = Recording()
    recording.add((captured(1, "I am a@example.org", "Hello a@example.org", is_redacted=False), None))
    text = golden_text(recording.items(1)).decode()
    assert "example.org" not in text
    assert text.count("<EMAIL_1>") == 2


def test_training_rows_are_items_whose_last_answer_is_the_reference() -> None:
    row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    (item,) = read_golden(json.dumps(row).encode())
    assert (item.messages, item.reference) == (row["messages"][:1], "Hello")


def test_every_fault_is_said_with_its_line() -> None:
    good = golden_text(recorded(("a", "1"))).decode()
    content = f'{good}nothing\n{{"x":1}}\n{{"messages":[{{"role":"user","content":"q"}}]}}\n{good}'
    with pytest.raises(InvalidRequest) as fault:
        read_golden(content.encode())
    assert [f"line {number}:" in fault.value.message for number in (1, 2, 3, 4, 5)] == [False, True, True, True, True]
    with pytest.raises(InvalidRequest, match="no items"):
        read_golden(b"\n\n")


def test_labels_must_be_the_same_and_texts_alike() -> None:
    labels = recorded(*((f"q{number}", ("card", "cash")[number % 2]) for number in range(10)))
    texts = recorded(*((f"q{number}", f"Answer number {number}") for number in range(10)))
    assert default_grader(labels)["type"] == "string_check"
    assert default_grader(texts)["type"] == "text_similarity"


def test_tools_are_given_where_all_items_have_the_same() -> None:
    items = recorded(("a", "1"), ("b", "2"))
    assert shared(items, "tools") is None
    recording = Recording()
    for number in range(2):
        recording.add((captured(number, tools='[{"type":"function"}]'), None))
    assert shared(recording.items(9), "tools") == [{"type": "function"}]
