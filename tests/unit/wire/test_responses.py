import pytest

from gateway.core.call import Turn
from gateway.core.errors import InvalidRequest
from tests.fakes.calls import read

PATH = "/v1/responses"


def test_a_string_is_a_users_turn() -> None:
    call = read({"model": "m", "input": "How long?", "instructions": "Be kind.", "max_output_tokens": 7}, PATH)
    assert call.turns == (Turn("system", "Be kind."), Turn("user", "How long?"))
    assert (call.text, call.output_limit, call.rag_ready) == ("How long?", 7, True)


def test_items_are_turns() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "How long?"}]},
        {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
        {"type": "function_call_output", "call_id": "1", "output": "3"},
    ]
    assert not read({"model": "m", "input": items}, PATH).rag_ready
    asked_again = [*items, {"role": "user", "content": [{"type": "input_text", "text": "Sure?"}]}]
    call = read({"model": "m", "input": asked_again}, PATH)
    assert (call.text, call.rag_ready) == ("Sure?", True)


def test_a_stream_of_responses_brings_its_usage_by_itself() -> None:
    """There is no `stream_options.include_usage` to ask with here, so nothing is put in or taken out."""
    assert read({"model": "m", "input": "x", "stream": True}, PATH).include_usage


def test_no_input_is_nothing_to_look_up() -> None:
    call = read({"model": "m", "previous_response_id": "resp_1"}, PATH)
    assert (call.text, call.rag_ready) == ("", False)


def test_a_format_of_json_is_seen() -> None:
    assert read({"model": "m", "input": "x", "text": {"format": {"type": "json_schema"}}}, PATH).wants_json
    assert not read({"model": "m", "input": "x", "text": {"verbosity": "low"}}, PATH).wants_json


def test_an_input_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Invalid request body"):
        read({"model": "m", "input": 3}, PATH)
