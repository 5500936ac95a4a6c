"""Where in a line a value stands: as an editor counts, from 1."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tuning.datasets.places import column_of, key_column

TEXT = '{ "a" : [1, {"b\\"": "x"}, [ ]], "é": null, "a": "last" }'


@pytest.mark.parametrize(
    ("place", "begins"),
    [((), "{ "), (("é",), "null"), (("a",), '"last"'), (("none",), "{ "), (("é", "deeper"), "null")],
)
def test_a_value_begins_at_its_column(place: tuple[str | int, ...], begins: str) -> None:
    assert TEXT[column_of(TEXT, place) - 1 :].startswith(begins)


def test_places_go_into_lists() -> None:
    text = '{"a": [1, {"b\\"": "x"}, [ ]]}'
    assert text[column_of(text, ("a", 1, 'b"')) - 1 :].startswith('"x"')
    assert text[column_of(text, ("a", 2)) - 1 :].startswith("[ ]")
    assert text[column_of(text, ("a", 9)) - 1 :].startswith("[1")
    assert text[key_column(text, ("a", 1), 'b"') - 1 :].startswith('"b')


@pytest.mark.parametrize("text", ["", "{", '{"a', '{"a": ', "[", "nonsense", '{"a": [1,'])
def test_what_is_no_json_has_a_column_too(text: str) -> None:
    assert column_of(text, ("a", 0)) >= 1
    assert key_column(text, (), "a") >= 1


Values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(Values, st.sampled_from([None, 1]), st.booleans())
def test_every_value_is_found_where_it_is_written(value: object, indent: int | None, is_ascii: bool) -> None:  # noqa: FBT001  # hypothesis gives it
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)

    def check(part: object, place: tuple[str | int, ...]) -> None:
        found, _ = json.JSONDecoder().raw_decode(text, column_of(text, place) - 1)
        assert found == part
        members = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, member in members:
            check(member, (*place, key))

    check(value, ())
