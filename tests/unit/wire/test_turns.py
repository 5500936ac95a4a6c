"""Sources go into no call whose tools are at work: the model's turn is not over then."""

from typing import Any

import pytest

from tests.fakes.calls import chat, read

ASKS = {"role": "user", "content": "How warm is it in Oslo?"}
CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
TWO = {**CALLS, "tool_calls": [{"id": "a", "type": "function"}, {"id": "b", "type": "function"}]}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "3"}
SAYS = {"role": "assistant", "content": "3 degrees."}
CALL = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "a", "output": "3"}


@pytest.mark.parametrize(
    ("turns", "ready"),
    [
        ([ASKS], True),
        ([ASKS, SAYS, ASKS], True),
        ([ASKS, CALLS, RESULT, SAYS, ASKS], True),
        ([ASKS, {**SAYS, "tool_calls": None}, ASKS], True),
        ([ASKS, {**SAYS, "tool_calls": []}, ASKS], True),
        ([ASKS, CALLS], False),
        ([ASKS, CALLS, RESULT], False),
        ([ASKS, CALLS, ASKS], False),
        ([ASKS, TWO, RESULT, ASKS], False),
        ([ASKS, TWO, RESULT, {**RESULT, "tool_call_id": "b"}, SAYS, ASKS], True),
        ([ASKS, {**SAYS, "tool_calls": "odd"}, ASKS], False),
        ([ASKS, {"role": "assistant", "function_call": {"name": "f", "arguments": ""}}], False),
        ([ASKS, {"role": "function", "name": "f", "content": "3"}], False),
    ],
)
def test_a_chat_call(turns: list[dict[str, Any]], ready: bool) -> None:  # noqa: FBT001 - a column of the table
    assert chat(messages=turns).rag_ready is ready


@pytest.mark.parametrize(
    ("items", "ready"),
    [
        ([ASKS], True),
        ([ASKS, CALL, OUTPUT, SAYS, ASKS], True),
        ([ASKS, {"type": "file_search_call", "id": "fs_1", "queries": []}, SAYS, ASKS], True),
        ([ASKS, {"type": "reasoning", "id": "rs_1", "summary": []}, SAYS, ASKS], True),
        ([ASKS, CALL], False),
        ([ASKS, CALL, OUTPUT], False),
        ([ASKS, CALL, ASKS], False),
        ([ASKS, CALL, {**CALL, "call_id": "b"}, OUTPUT, ASKS], False),
        ([ASKS, {"type": "custom_tool_call", "call_id": "c", "name": "x", "input": ""}, ASKS], False),
        ([ASKS, {"type": "computer_call", "call_id": "c"}, {"type": "computer_call_output", "call_id": "c"}], False),
        ([ASKS, {"type": "mcp_approval_request", "id": "m"}, ASKS], False),
        (
            [ASKS, {"type": "mcp_approval_request", "id": "m"},
             {"type": "mcp_approval_response", "approval_request_id": "m", "approve": True}, ASKS],
            True,
        ),
    ],
)  # fmt: skip
def test_a_response(items: list[dict[str, Any]], ready: bool) -> None:  # noqa: FBT001 - a column of the table
    assert read({"model": "m", "input": items}, "/v1/responses").rag_ready is ready
