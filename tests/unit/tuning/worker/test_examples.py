"""Training files as the worker reads them."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.tuning.worker.examples import MOST_TOLD, FileFaults, read_file

ASKED = {"role": "user", "content": "Why?"}
SAID = {"role": "assistant", "content": "Because."}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "training.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_weights_say_which_answers_are_learnt_and_what_comes_after_them_is_left_out(tmp_path: Path) -> None:
    rows = {"messages": [ASKED, {**SAID, "weight": 0}, ASKED, {**SAID, "weight": 1}, ASKED, {**SAID, "weight": 0}]}
    [example] = read_file(written(tmp_path, rows), "supervised")
    assert example.weights == (False, False, False, True)
    assert [turn["role"] for turn in example.turns] == ["user", "assistant", "user", "assistant"]


def test_turns_are_what_templates_take(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    rows = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "kind."}]},
            ASKED,
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
            SAID,
        ],
        "tools": [{"type": "function", "function": {"name": "look"}}],
    }
    [example] = read_file(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(rows).encode(), b"  "), "supervised")
    assert example.turns[0] == {"role": "system", "content": "Be kind."}
    assert example.turns[2]["content"] == ""
    assert example.turns[2]["tool_calls"][0]["function"]["arguments"] == {"at": 1}
    assert example.turns[3]["tool_call_id"] == "c1"
    assert example.tools == rows["tools"]


def test_preferences_have_a_question_and_two_answers(tmp_path: Path) -> None:
    other = {"role": "assistant", "content": "No idea."}
    good = {"input": {"messages": [ASKED]}, "preferred_output": [SAID], "non_preferred_output": [other]}
    older = {"input": {"messages": [ASKED]}, "preferred_completion": [SAID], "non_preferred_completion": [other]}
    one, two = read_file(written(tmp_path, good, older), "dpo")
    assert one.better == two.better == SAID
    assert one.worse == two.worse == other


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (b'{"messages": [', "no whole JSON"),
        (b'{"messages": "\xff"}', "UTF-8"),
        ([1], "JSON object"),
        ({"messages": []}, "at least one message"),
        ({"messages": [ASKED]}, "no assistant message"),
        ({"messages": [ASKED, {**SAID, "weight": 0}]}, "no assistant message"),
        ({"messages": [ASKED, {**SAID, "weight": 2}]}, "weight is 0 or 1"),
        ({"messages": [{"role": "robot", "content": "x"}, SAID]}, "role of"),
        ({"messages": [{"role": "user"}, SAID]}, "has content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, SAID]}, "pictures"),
        ({"messages": [ASKED, {"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "function with a name"),
        (
            {"messages": [ASKED, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "are JSON",
        ),
        ({"messages": [ASKED, SAID], "tools": "x"}, "`tools` is a list"),
    ],
)
def test_a_faulty_line_is_told_by_its_number(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(FileFaults) as failed:
        read_file(written(tmp_path, {"messages": [ASKED, SAID]}, row), "supervised")
    [fault] = failed.value.faults
    assert fault.startswith("Line 2: ")
    assert says in fault


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"messages": [ASKED, SAID]}, "`input.messages`"),
        ({"input": {"messages": [ASKED, SAID]}, "preferred_output": [SAID]}, "ends with an answer"),
        ({"input": {"messages": [ASKED]}, "preferred_output": [SAID, SAID]}, "exactly one"),
        ({"input": {"messages": [ASKED]}, "preferred_output": [ASKED]}, "of the assistant"),
        (
            {"input": {"messages": [ASKED]}, "preferred_output": [SAID], "non_preferred_output": [SAID]},
            "are the same",
        ),
    ],
)
def test_a_faulty_preference_is_told(tmp_path: Path, row: Any, says: str) -> None:
    with pytest.raises(FileFaults) as failed:
        read_file(written(tmp_path, row), "dpo")
    assert says in failed.value.faults[0]


def test_all_faults_are_found_and_so_many_told(tmp_path: Path) -> None:
    with pytest.raises(FileFaults) as failed:
        read_file(written(tmp_path, *([[1]] * (MOST_TOLD + 5))), "supervised")
    assert len(failed.value.faults) == MOST_TOLD + 5
    assert "And 5 more." in str(failed.value)
