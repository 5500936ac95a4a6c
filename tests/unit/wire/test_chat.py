from typing import Any

import pytest

from gateway.core.call import Turn
from gateway.core.errors import InvalidRequest
from tests.fakes.calls import chat, read


def test_what_a_policy_needs_is_read() -> None:
    call = chat(
        model="auto",
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "this?"}]},
        ],
        stream=True,
        stream_options={"include_usage": True},
        n=3,
        max_tokens=10,
        max_completion_tokens=20,
        tools=[{"type": "function", "function": {"name": "f"}}],
        response_format={"type": "json_schema", "json_schema": {}},
        metadata={"feature": "refunds", "count": 3},
    )
    assert (call.model, call.stream, call.include_usage, call.choices) == ("auto", True, True, 3)
    assert call.output_limit == 20, "max_tokens is the older name of the same cap"
    assert call.turns == (Turn("system", "Be kind."), Turn("user", "What is\nthis?"))
    assert call.text == "What is\nthis?"
    assert (call.has_tools, call.wants_json, call.rag_ready, call.has_image) == (True, True, True, False)
    assert call.metadata == (("feature", "refunds"),), "values that are no text are the upstream's to judge"


def test_nothing_given_is_nothing_assumed() -> None:
    call = chat(tools=[], stream=None, n=None, stream_options=None, response_format=None)
    assert (call.stream, call.include_usage, call.choices, call.output_limit) == (False, False, 1, None)
    assert not call.has_tools
    assert not call.wants_json


@pytest.mark.parametrize("kind", ["image_url", "input_image"])
def test_an_image_is_seen(kind: str) -> None:
    content = [{"type": "text", "text": "this?"}, {"type": kind, "image_url": {"url": "data:"}}]
    call = chat(messages=[{"role": "user", "content": content}])
    assert (call.has_image, call.text) == (True, "this?")


@pytest.mark.parametrize(
    "after",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ],
)
def test_a_turn_of_tools_gets_no_sources(after: dict[str, Any]) -> None:
    """The model waits for a tool's result; a block of sources between the two is refused by OpenAI."""
    assert not chat(messages=[{"role": "user", "content": "Add."}, after]).rag_ready


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, None),
        ({"model": None, "messages": []}, "model"),
        ({"model": "m"}, None),
        ({"model": "m", "messages": "hi"}, "messages"),
        ({"model": "m", "messages": [1]}, "messages[0]"),
        ({"model": "m", "messages": [{"role": 1}]}, "messages[0].role"),
        ({"model": "m", "messages": [], "stream": "yes"}, "stream"),
        ({"model": "m", "messages": [], "stream_options": True}, "stream_options"),
        ({"model": "m", "messages": [], "max_tokens": "many"}, "max_tokens"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(body: dict[str, Any], param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    assert caught.value.param == param
    assert caught.value.message.startswith("Invalid request body: ")


def test_a_name_that_no_book_can_hold_is_refused() -> None:
    """PostgreSQL takes no NUL: the row could never be shipped, and would hold up all rows behind it."""
    for name in ("a\0b", "m" * 301):
        with pytest.raises(InvalidRequest) as caught:
            chat(model=name)
        assert caught.value.param == "model"
    assert chat(model="m" * 300).model == "m" * 300
