"""The rows of a run's data: whole and checked before anything is asked, with every fault and its line."""

import json
from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.json_value import Json
from gateway.tuning.evals.data_source import DataSource, read_data_source
from gateway.tuning.evals.source import MOST_FAULTS, rows_of
from gateway.tuning.evals.values import Row
from gateway.tuning.graders.written import read_grader

SCHEMA: Json = {
    "type": "object",
    "properties": {
        "q": {"type": "string"},
        "n": {"type": ["integer", "null"]},
        "tags": {"items": {"enum": ["a", "b"]}},
    },
    "required": ["q"],
}
CHECK = {
    "type": "string_check",
    "name": "c",
    "input": "{{sample.output_text}}",
    "reference": "{{item.q}}",
    "operation": "eq",
}
FILE: dict[str, Any] = {"type": "file_id", "id": "file-1"}
JSONL = {"type": "jsonl", "source": FILE}


def source_of(written: dict[str, Any]) -> DataSource:
    return read_data_source(json.dumps(written).encode())


def asked(messages: dict[str, Any]) -> DataSource:
    return source_of({"type": "completions", "model": "m", "source": FILE, "input_messages": messages})


def rows(content: bytes, source: DataSource | None = None) -> list[Row]:
    return rows_of(source or source_of(JSONL), content, SCHEMA, [read_grader(json.dumps(CHECK).encode())])


def refused(content: bytes, source: DataSource | None = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        rows(content, source)
    assert caught.value.param == "data_source.source.id"
    return caught.value.message


def line(item: object, **more: object) -> bytes:
    return json.dumps({"item": item, **more}).encode()


def test_rows_keep_their_order_and_blank_lines_and_a_mark_do_not_count() -> None:
    said = {"output_text": "x"}
    content = b"\xef\xbb\xbf" + line({"q": "ä"}, sample=said) + b"\r\n\n" + line({"q": "b", "n": None}, sample=said)
    assert rows(content) == [
        Row('{"q":"ä"}', '{"output_text":"x"}'),
        Row('{"q":"b","n":null}', '{"output_text":"x"}'),
    ]


def test_every_fault_is_told_with_its_line() -> None:
    said = {"output_text": "x"}
    content = b"\n".join(
        [
            line({"q": 1}, sample=said),
            b"{",
            line([], sample=said),
            line({"q": "x", "n": 1.5, "tags": ["a", "c"]}, sample=said),
            line({"q": "x"}),
            line({"q": "x"}, sample=3),
            b'{"item": {"q": "\xff"}}',
            b'{"item": {"q": "\\u0000"}}',
        ]
    )
    told = refused(content)
    for fault in (
        "line 1: item.q: 1 is not of type 'string'",
        "line 2: is no JSON",
        "line 3: must be an object with an object `item`",
        "line 4: item.n: 1.5 is not of type 'integer', 'null'",
        "line 4: item.tags[1]: 'c' is not one of ['a', 'b']",
        "line 5: sample.output_text is named and there is no sample",
        "line 6: `sample` must be an object",
        "line 7: is no JSON",
        "line 8: holds a NUL",
    ):
        assert fault in told, told


def test_of_very_many_faults_some_are_told_and_that_there_are_more() -> None:
    told = refused(b"\n".join([b"{"] * 1_000))
    assert told.count("is no JSON") == MOST_FAULTS
    assert "and more" in told


def test_no_rows_are_a_fault() -> None:
    assert "there are no rows" in refused(b"\n \n")


def test_a_model_that_is_asked_needs_no_sample_but_all_that_its_prompt_names() -> None:
    source = asked({"type": "template", "template": [{"role": "user", "content": "{{item.q}} {{item.hint}}"}]})
    assert len(rows(line({"q": "x", "hint": "y"}), source)) == 1
    assert "line 1: item.hint names nothing" in refused(line({"q": "x"}), source)


def test_messages_of_an_item_are_messages() -> None:
    source = asked({"type": "item_reference", "item_reference": "item.turns"})
    turns = [{"role": "user", "content": "x"}]
    assert len(rows(line({"q": "x", "turns": turns}), source)) == 1
    for wrong in ("words", [], [{"content": "x"}], [{"role": "boss"}]):
        assert "must be a list of messages" in refused(line({"q": "x", "turns": wrong}), source)


def test_what_is_not_a_part_of_the_item_is_no_reference() -> None:
    with pytest.raises(InvalidRequest, match="must name a part of the item"):
        asked({"type": "item_reference", "item_reference": "sample.turns"})
