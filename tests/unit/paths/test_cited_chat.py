import json
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.knowledge.context import build_context
from gateway.paths.cited_chat import ChatEditor
from gateway.paths.sources import CitedSources
from tests.fakes.calls import hit

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def editor() -> ChatEditor:
    context = build_context([hit("Ten days."), hit("By card.", "payment.md", 0.8)], 1_000)
    assert len(context.sources) == 2
    return ChatEditor(CitedSources("dec_1", context.sources))


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: " + json.dumps({**HEAD, "choices": [choice], **more}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
STREAM = b"".join(
    [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in ("Ten d", "ays [", "1", "]", ", by card [2][", "9", "] or", " [7].")),
        chunk({}, "stop"),
        DONE,
    ]
)
SAID = "Ten days [1], by card [2] or."


def played(stream: bytes, size: int) -> bytes:
    made = editor()
    out = b"".join(made.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    return out + made.finish()


def chunks(stream: bytes) -> list[dict[str, Any]]:
    *pieces, end = stream.decode().split("\n\n")
    assert end == ""
    return [json.loads(piece.removeprefix("data: ")) for piece in pieces if piece != "data: [DONE]"]


def text(stream: bytes, index: int = 0) -> str:
    found = (choice for one in chunks(stream) for choice in one["choices"] if choice["index"] == index)
    return "".join(choice["delta"].get("content") or "" for choice in found)


def annotations(stream: bytes, index: int = 0) -> list[dict[str, Any]]:
    found = (choice for one in chunks(stream) for choice in one["choices"] if choice["index"] == index)
    return [one for choice in found for one in choice["delta"].get("annotations", [])]


def accumulated(stream: bytes) -> ChatCompletion:
    """What the official client makes of it; it raises for what it cannot put together."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for one in chunks(stream):
        state.handle_chunk(ChatCompletionChunk.model_validate(one))
    return state.get_final_completion()


def test_however_the_bytes_arrive_the_same_goes_out() -> None:
    whole = played(STREAM, len(STREAM))
    assert text(whole) == SAID
    for size in range(1, len(STREAM)):
        assert played(STREAM, size) == whole


def test_each_annotation_points_at_its_marker() -> None:
    found = annotations(played(STREAM, 50))
    assert [one["index"] for one in found] == [0, 1]
    cited = [one["url_citation"] for one in found]
    assert [SAID[one["start_index"] : one["end_index"]] for one in cited] == ["[1]", "[2]"]
    assert [one["title"] for one in cited] == ["Refunds", "Payment"]


def test_the_official_client_puts_it_together() -> None:
    message = accumulated(played(STREAM, 50)).choices[0].message
    assert message.content == SAID
    assert message.annotations is not None
    assert [one.url_citation.title for one in message.annotations] == ["Refunds", "Payment"]


def test_what_is_not_changed_keeps_its_bytes() -> None:
    """Only events with a marker in them are written anew: unknown fields and their order stay."""
    first = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}], "x":1.0e2 ,"obfuscation":"ab"}\n\n'
    made = editor()
    for event in (b": keep-alive\n\n", first, b"event: ping\ndata: {}\n\n", DONE, b"data: not json\n\n"):
        assert made.feed(event) == event


@pytest.mark.parametrize("size", [1, 13, 10_000])
def test_last_words_and_end_in_one_chunk_keep_their_order(size: int) -> None:
    """Some upstreams say both at once."""
    stream = chunk({"role": "assistant", "content": "Ten"}) + chunk({"content": " days [1"}, "length") + DONE
    out = played(stream, size)
    assert text(out) == "Ten days [1"
    single = played(chunk({"role": "assistant", "content": "Ten days [1]"}, "stop") + DONE, size)
    assert text(single) == "Ten days [1]"
    assert accumulated(single).choices[0].message.content == "Ten days [1]"
    assert len(annotations(single)) == 1


@pytest.mark.parametrize("odd", [7, "x", {"a": 1}, True])
def test_annotations_of_another_type_are_taken_for_none(odd: Any) -> None:
    body = {"choices": [{"message": {"content": "Ten days [1]", "annotations": odd}}]}
    message = json.loads(editor().whole(json.dumps(body).encode()))["choices"][0]["message"]
    assert [one["type"] for one in message["annotations"]] == ["url_citation"]


def test_annotations_of_the_upstreams_own_stay() -> None:
    body = {"choices": [{"message": {"content": "Ten days [1]", "annotations": [{"type": "theirs"}]}}]}
    message = json.loads(editor().whole(json.dumps(body).encode()))["choices"][0]["message"]
    assert [one["type"] for one in message["annotations"]] == ["theirs", "url_citation"]


def test_each_choice_has_its_own_citations() -> None:
    stream = b"".join(
        [
            chunk({"role": "assistant", "content": "A [1"}, index=0),
            chunk({"role": "assistant", "content": "B [2"}, index=1),
            chunk({"content": "]"}, index=1),
            chunk({"content": "]"}, index=0),
            chunk({}, "stop", index=1),
            chunk({}, "stop", index=0),
            DONE,
        ]
    )
    out = played(stream, 40)
    assert (text(out, 0), text(out, 1)) == ("A [1]", "B [2]")
    assert [one["url_citation"]["title"] for one in annotations(out, 0)] == ["Refunds"]
    assert [one["url_citation"]["title"] for one in annotations(out, 1)] == ["Payment"]


def test_the_reply_says_which_sources_it_had_and_which_it_used() -> None:
    out = chunks(played(chunk({"content": "By card [2]"}) + chunk({}, "stop"), 30))
    (told,) = [one["gateway"] for one in out if "gateway" in one]
    assert told["decision_id"] == "dec_1"
    assert [(one["n"], one["filename"], one["cited"]) for one in told["sources"]] == [
        (1, "Refunds", False),
        (2, "Payment", True),
    ]


def test_a_whole_reply_is_edited_and_its_other_fields_are_not() -> None:
    body = (
        b'{"id":"x","usage":{"prompt_tokens": 1},"choices":[{"index":0,"message":{"role":"assistant",'
        b'"content":"Ten days [1] or [7]."},"finish_reason":"stop"}],"system_fingerprint":1.0e2}'
    )
    out = editor().whole(body)
    told = json.loads(out)
    message = told["choices"][0]["message"]
    assert message["content"] == "Ten days [1] or."
    assert [one["type"] for one in message["annotations"]] == ["url_citation"]
    assert b'"usage":{"prompt_tokens": 1}' in out
    assert b'"system_fingerprint":1.0e2' in out
    assert told["gateway"]["sources"][0]["cited"]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"choices":3}', b'{"error":{}}', b'{"choices":[{"x":"\xff"}]}']
)
def test_a_reply_that_is_not_understood_goes_on_as_it_came(body: bytes) -> None:
    assert editor().whole(body) == body


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_json_loses_its_markers_in_a_stream_too(size: int) -> None:
    """Also one that the stream's end leaves half."""
    said = ['{"days": [1], "of [2]": "Ten', " days [", "2", "][9].", '\\n", "half": "[1']
    stream = b"".join([*(chunk({"content": piece}) for piece in said), chunk({}, "stop"), DONE])
    context = build_context([hit("Ten days."), hit("By card.", "payment.md", 0.8)], 1_000)
    made = ChatEditor(CitedSources("dec_1", context.sources, is_json=True))
    out = b"".join(made.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + made.finish()
    assert text(out) == '{"days": [1], "of [2]": "Ten days.\\n", "half": "[1'
    assert annotations(out) == []
    (told,) = (one["gateway"] for one in chunks(out) if "gateway" in one)
    assert [one["cited"] for one in told["sources"]] == [False, True]
