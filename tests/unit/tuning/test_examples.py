import json
from pathlib import Path
from typing import Any

import pytest

from gateway.core.errors import BadConfiguration
from gateway.tuning.examples import MOST_EXAMPLES, MOST_FAULTS, MOST_SYSTEM_PROMPTS, Examples, read_examples


def written(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "tone.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


def read(tmp_path: Path, *lines: object) -> Examples:
    return read_examples(written(tmp_path, *lines))


def faults_of(path: Path) -> list[str]:
    with pytest.raises(BadConfiguration) as bad:
        read_examples(path)
    return bad.value.faults


def talk(*turns: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **fields}


def asked(question: str, answer: str = "Yes.", system: str = "Be kind.") -> dict[str, Any]:
    return talk(("system", system), ("user", question), ("assistant", answer))


def test_the_chat_form_teaches_its_last_user_turn_and_its_system_prompt(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        talk(("system", "Be kind."), ("user", "Hello"), ("assistant", "Hi"), ("user", "Again"), ("assistant", "Hi")),
        talk(("developer", "Be\n  kind. "), ("user", "Once"), ("assistant", "Yes")),
        talk(("user", "Bare"), ("assistant", "Yes")),
    )
    assert found.turns == ("Again", "Once", "Bare")
    assert found.system_prompts == ("Be kind.", "")
    assert (found.most_messages, found.answers_json, found.has_tools) == (3, False, False)


def test_the_older_form_teaches_its_prompt(tmp_path: Path) -> None:
    found = read(tmp_path, {"prompt": "Write to Sam ->", "completion": " Hello Sam\n"}, {"prompt": "Write to Mia ->"})
    assert found == Examples(("Write to Sam ->", "Write to Mia ->"), ("",), 1, answers_json=False, has_tools=False)


def test_the_preference_form_teaches_its_input_and_the_better_answer(tmp_path: Path) -> None:
    def preferred(better: str) -> dict[str, Any]:
        given = talk(("system", "Be kind."), ("user", "Sum it up"), tools=[{"type": "function"}])
        return {
            "input": given,
            "preferred_output": [{"role": "assistant", "content": better}],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        }

    found = read(tmp_path, preferred('{"sum": 1}'))
    assert found == Examples(("Sum it up",), ("Be kind.",), 1, answers_json=True, has_tools=True)
    assert not read(tmp_path, preferred("In short: one.")).answers_json


def test_content_in_parts_is_read_as_its_text(tmp_path: Path) -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "it?"},
    ]
    found = read(tmp_path, talk(("user", parts), ("assistant", None)), talk(("user", None), ("assistant", "Yes")))
    assert found.turns == ("What is\nit?", "")


def test_most_answers_decide_whether_a_file_teaches_json(tmp_path: Path) -> None:
    objects, lists, words = asked("a", '{"a": [1]}'), asked("b", " [1, 2]"), asked("c", "One and two")
    almost, number = asked("d", '{"a": '), asked("e", "12")
    assert read(tmp_path, objects, lists, words).answers_json
    assert not read(tmp_path, objects, words).answers_json
    assert not read(tmp_path, almost, number, objects, lists).answers_json


def test_one_example_with_tools_teaches_tools(tmp_path: Path) -> None:
    assert read(tmp_path, asked("a"), asked("b") | {"tools": [{"type": "function"}]}).has_tools
    assert not read(tmp_path, asked("a") | {"tools": []}).has_tools


def test_a_large_file_is_thinned_evenly_and_still_counted_whole(tmp_path: Path) -> None:
    lines = [asked(str(number), system=f"Be {number}.") for number in range(4 * MOST_EXAMPLES)]
    lines[-1]["messages"].insert(1, {"role": "user", "content": "First"})
    found = read(tmp_path, *lines)
    assert [int(turn) for turn in found.turns] == list(range(0, 4 * MOST_EXAMPLES, 4))
    assert found.system_prompts == tuple(f"Be {number}." for number in range(MOST_SYSTEM_PROMPTS))
    assert found.most_messages == 2


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, asked("good"), b"{", b"", b'"a word"', b'{"messages": "no"}', b"\xff\xfe", b"[" * 5000)
    faults = faults_of(path)
    assert [fault.partition(": no training example")[0] for fault in faults] == [
        f"{path}:{n}:1" for n in (2, 4, 5, 6, 7)
    ]


def test_a_file_of_rubbish_is_not_told_line_by_line_to_its_end(tmp_path: Path) -> None:
    assert len(faults_of(written(tmp_path, *[b"{"] * 500))) == MOST_FAULTS


def test_a_file_that_teaches_nothing_says_so(tmp_path: Path) -> None:
    empty = written(tmp_path, talk(("system", "Be kind."), ("assistant", "Yes")), {"messages": []})
    assert faults_of(empty) == [f"{empty}:1:1: the training file holds no example with a user turn."]
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    assert len(faults_of(tmp_path / "empty.jsonl")) == 1
    assert "No such file" in faults_of(tmp_path / "absent.jsonl")[0]
