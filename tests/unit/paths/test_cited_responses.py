import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.knowledge.context import build_context
from gateway.paths.cited_responses import ResponsesEditor
from gateway.paths.sources import CitedSources
from gateway.wire.answer import own_answer
from tests.fakes.calls import hit, read

SAID = "Ten days [1], by card [2] or."
PIECES = ("Ten d", "ays [", "1", "]", ", by card [2][", "9", "] or", " [7].")
WRITTEN = "".join(PIECES)
ADAPTER: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


def editor(*, is_json: bool = False) -> ResponsesEditor:
    context = build_context([hit("Ten days."), hit("By card.", "payment.md", 0.8)], 1_000)
    return ResponsesEditor(CitedSources("dec_1", context.sources, is_json=is_json))


def upstreams_stream(pieces: tuple[str, ...] = PIECES) -> bytes:
    """An upstream's events: those of a whole answer, with its one delta cut into pieces."""
    call = read({"model": "m", "input": "x", "stream": True}, "/v1/responses")
    out = []
    number = 0
    for event in own_answer(call, "".join(pieces), {})[1].decode().removesuffix("\n\n").split("\n\n"):
        told = json.loads(event.partition("data: ")[2])
        told.get("response", {}).pop("gateway", None)
        deltas = pieces if told["type"] == "response.output_text.delta" else (None,)
        for delta in deltas:
            if delta is not None:
                told["delta"] = delta
            told["sequence_number"] = number
            number += 1
            out.append(f"event: {told['type']}\ndata: {json.dumps(told)}\n\n")
    return "".join(out).encode()


STREAM = upstreams_stream()


def played(stream: bytes, size: int) -> bytes:
    made = editor()
    out = b"".join(made.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    return out + made.finish()


def told(stream: bytes) -> list[dict[str, Any]]:
    pieces = stream.decode().removesuffix("\n\n").split("\n\n")
    return [json.loads(piece.partition("data: ")[2]) for piece in pieces]


def test_however_the_bytes_arrive_the_same_goes_out() -> None:
    whole = played(STREAM, len(STREAM))
    for size in (*range(1, 200), *range(200, len(STREAM), 97)):
        assert played(STREAM, size) == whole


def test_deltas_and_the_finished_texts_say_the_same() -> None:
    events = told(played(STREAM, 50))
    assert "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta") == SAID
    (done,) = [one["text"] for one in events if one["type"] == "response.output_text.done"]
    (part,) = [one["part"]["text"] for one in events if one["type"] == "response.content_part.done"]
    assert done == part == events[-1]["response"]["output"][1]["content"][0]["text"] == SAID


def test_events_are_numbered_without_gap_or_double() -> None:
    events = told(played(STREAM, 50))
    assert [one["sequence_number"] for one in events] == list(range(len(events)))


def test_annotations_come_before_the_text_is_done_and_again_in_it() -> None:
    events = told(played(STREAM, 50))
    kinds = [one["type"] for one in events]
    places = [at for at, kind in enumerate(kinds) if kind == "response.output_text.annotation.added"]
    assert len(places) == 2
    assert max(places) < kinds.index("response.output_text.done")
    added = [events[at]["annotation"] for at in places]
    assert [(one["filename"], SAID[one["index"] : one["index"] + 3]) for one in added] == [
        ("Refunds", "[1]"),
        ("Payment", "[2]"),
    ]
    assert events[-1]["response"]["output"][1]["content"][0]["annotations"] == added
    assert [one["cited"] for one in events[-1]["response"]["gateway"]["sources"]] == [True, True]


def test_json_loses_its_markers_wherever_it_is_told() -> None:
    pieces = ('{"days": [1], "of": "Ten', " days [", "2", "][9]", '.\\n"}')
    stream, clean = upstreams_stream(pieces), '{"days": [1], "of": "Ten days.\\n"}'
    for size in (1, 50, len(stream)):
        made = editor(is_json=True)
        events = told(b"".join(made.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + made.finish())
        assert "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta") == clean
        (done,) = [one["text"] for one in events if one["type"] == "response.output_text.done"]
        (part,) = [one["part"]["text"] for one in events if one["type"] == "response.content_part.done"]
        last = events[-1]["response"]
        assert done == part == last["output"][1]["content"][0]["text"] == clean
        assert [one["cited"] for one in last["gateway"]["sources"]] == [False, True]
        assert not any("annotation" in one["type"] for one in events)
    body = own_answer(read({"model": "m", "input": "x"}, "/v1/responses"), "".join(pieces), {})[1]
    whole = json.loads(editor(is_json=True).whole(body))
    assert whole["output"][1]["content"][0]["text"] == clean
    assert [one["cited"] for one in whole["gateway"]["sources"]] == [False, True]


def test_the_official_client_reads_every_event() -> None:
    read_back = [ADAPTER.validate_python(one) for one in told(played(STREAM, 50))]
    last = read_back[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == SAID


def test_a_whole_response_is_edited_and_its_other_fields_are_not() -> None:
    body = own_answer(read({"model": "m", "input": "x"}, "/v1/responses"), WRITTEN, {})[1]
    body = body.replace(b'"metadata":{}', b'"metadata":{"a" : "b"}')
    out = editor().whole(body)
    assert b'"metadata":{"a" : "b"}' in out
    response = Response.model_validate_json(out)
    assert response.output_text == SAID
    assert len(json.loads(out)["output"][1]["content"][0]["annotations"]) == 2


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"output":3}', b'{"error":{}}', b'{"output":"\xff"}'])
def test_a_reply_that_is_not_understood_goes_on_as_it_came(body: bytes) -> None:
    assert editor().whole(body) == body


def test_what_is_not_changed_keeps_its_bytes() -> None:
    made = editor()
    for event in (b": keep-alive\n\n", b'event: x\ndata: {"type":"x", "n":1.0e2}\n\n', b"data: not json\n\n"):
        assert made.feed(event) == event
