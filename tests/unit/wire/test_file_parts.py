"""Files that are kept here are sent to an upstream that has never heard of their ids."""

import base64
from typing import Any

import msgspec

from gateway.core.call import Call
from gateway.wire.file_parts import file_ids_of, with_contents
from tests.fakes.calls import read

SEEN: dict[str, Any] = {"type": "text", "text": "What is in it?"}
PDF = b"%PDF-1.7 ..."
DATA = "data:application/pdf;base64," + base64.b64encode(PDF).decode()


def sent(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(call.inbound.body)
    return found


def test_a_chat_part_becomes_data_and_its_neighbours_stay() -> None:
    first = {"role": "system", "content": "Be  brief."}
    part = {"type": "file", "file": {"file_id": "file-1"}}
    call = read({"model": "m", "messages": [first, {"role": "user", "content": [SEEN, part]}]})
    assert file_ids_of(call) == ("file-1",)
    filled = with_contents(call, {"file-1": ("a.pdf", PDF)})
    assert sent(filled)["messages"] == [
        first,
        {
            "role": "user",
            "content": [SEEN, {"type": "file", "file": {"filename": "a.pdf", "file_data": DATA}}],
        },
    ]
    assert filled.prompt_bytes == len(filled.inbound.body)


def test_a_response_part_becomes_data() -> None:
    part = {"type": "input_file", "file_id": "file-1"}
    call = read({"model": "m", "input": [{"role": "user", "content": [part]}]}, "/v1/responses")
    filled = with_contents(call, {"file-1": ("a.pdf", PDF)})
    assert sent(filled)["input"][0]["content"] == [{"type": "input_file", "filename": "a.pdf", "file_data": DATA}]


def test_an_id_that_is_not_ours_stays() -> None:
    mine, foreign = {"type": "input_file", "file_id": "file-1"}, {"type": "input_file", "file_id": "file-2"}
    call = read({"model": "m", "input": [{"role": "user", "content": [mine, foreign]}]}, "/v1/responses")
    assert file_ids_of(call) == ("file-1", "file-2")
    filled = with_contents(call, {"file-1": ("a.pdf", PDF)})
    assert sent(filled)["input"][0]["content"][1] == foreign


def test_what_only_speaks_of_files_names_none() -> None:
    assert file_ids_of(read({"model": "m", "messages": [{"role": "user", "content": 'a "file_id"'}]})) == ()
    assert file_ids_of(read({"model": "m", "input": 'a "file_id"'}, "/v1/responses")) == ()
