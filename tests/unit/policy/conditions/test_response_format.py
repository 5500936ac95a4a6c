import pytest

from gateway.core.errors import BadConfiguration
from tests.fakes.calls import chat, read
from tests.fakes.rulebook import held, rule

SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}


def test_holds_for_the_forms_that_are_named() -> None:
    assert held("response_format: [json_object, json_schema]", chat(response_format=SCHEMA))
    assert held("response_format: json_object", chat(response_format={"type": "json_object"}))
    assert not held("response_format: json_object", chat(response_format=SCHEMA))


def test_who_asks_for_no_form_gets_text() -> None:
    assert held("response_format: text", chat())
    assert held("response_format: text", chat(response_format={"type": "text"}))


def test_a_form_that_is_new_to_us_is_another() -> None:
    assert held("response_format: other", chat(response_format={"type": "grammar"}))


def test_the_form_of_a_responses_call_is_read_where_it_stands_there() -> None:
    call = read({"model": "m", "input": "Hi", "text": {"format": {"type": "json_object"}}}, "/v1/responses")
    assert held("response_format: json_object", call)


def test_a_word_that_is_no_form_is_a_fault() -> None:
    with pytest.raises(BadConfiguration, match="response_format"):
        rule("response_format: json")
