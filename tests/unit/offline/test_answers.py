"""The same question has the same answer, marked as a rehearsal."""

import json
from typing import Any

import pytest

from gateway.core.call import Turn
from gateway.offline.answers import MARK, answer_to_format, limited, plain_answer, tool_call

ASK = (Turn(role="user", text="How long do refunds take?"),)
TOOLS: list[dict[str, Any]] = [
    {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
    },
    {"name": "close"},
]


def test_an_answer_begins_with_the_mark_and_echoes_the_last_user_turn() -> None:
    answer = plain_answer("gpt-4.1-mini", (Turn(role="user", text="first"), Turn(role="assistant", text="x"), *ASK))
    assert answer == f'{MARK} You wrote: "How long do refunds take?"'


def test_a_tuned_model_answers_in_its_form() -> None:
    answer = plain_answer("ft:gpt-4o-mini-2024-07-18:acme:support:Ab12", ASK)
    assert answer.startswith(f"{MARK} Dear customer,\n\n")
    assert answer.endswith("Kind regards,\nYour support team")


def test_sources_are_answered_with_a_citation() -> None:
    turns = (Turn(role="system", text="[1] Refunds take 5 days.\n[2] Cards take 7 days."), *ASK)
    assert plain_answer("m", turns) == f"{MARK} Refunds take 5 days. [1]"
    off_topic = (turns[0], Turn(role="user", text="Whales?"))
    assert plain_answer("m", off_topic) == f"{MARK} The sources do not answer this question."


def test_count_to_gives_an_answer_of_any_length() -> None:
    assert plain_answer("m", (Turn(role="user", text="Count to 4."),)) == f"{MARK} 1 2 3 4"


def test_formats_are_valid_json() -> None:
    assert json.loads(answer_to_format("m", ASK, {"type": "json_object"}))["answer"].startswith(MARK)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    chat = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert json.loads(answer_to_format("m", ASK, chat)) == {"a": 0}
    assert json.loads(answer_to_format("m", ASK, {"type": "json_schema", "schema": schema})) == {"a": 0}
    assert answer_to_format("m", ASK, {"type": "json_schema", "schema": {"$ref": "#"}}) == "{}"


@pytest.mark.parametrize(
    ("choice", "text", "name"),
    [
        ("required", "", "look_up"),
        ("none", "look_up", None),
        ("auto", "please look_up 7", "look_up"),
        (None, "hello", None),
        ({"type": "function", "function": {"name": "close"}}, "", "close"),
        ({"type": "function", "name": "close"}, "", "close"),
        ({"type": "function", "name": "gone"}, "", None),
    ],
)
def test_a_tool_is_called_when_it_must_be_or_is_named(choice: object, text: str, name: str | None) -> None:
    call = tool_call(TOOLS, choice, (Turn(role="user", text=text),))
    assert (call and call.name) == name
    if call and call.name == "look_up":
        assert json.loads(call.arguments) == {"id": "offline rehearsal"}


@pytest.mark.parametrize(
    ("limit", "stops", "text", "cut"),
    [
        (None, (), "a b c", False),
        (2, (), "a b", True),
        (3, (), "a b c", False),
        (None, ("b",), "a ", False),
        (1, ("c", "b"), "a ", False),
    ],
)
def test_limits_and_stops_end_an_answer(limit: int | None, stops: tuple[str, ...], text: str, *, cut: bool) -> None:
    said = limited("a b c", limit, stops)
    assert (said.text, said.cut) == (text, cut)
