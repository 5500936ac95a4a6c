"""Lines of batches: cut however their bytes come, every fault of each told, totals unknown as soon as one is."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.batches.lines import MOST_FAULTS, MOST_LINES, Line, Lines, Tally, answer_line, failed_line, split
from gateway.core.answered import Answered

CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "m"}}


def written(**changed: Any) -> bytes:
    return json.dumps({name: value for name, value in (GOOD | changed).items() if value is not ...}).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_lines_are_the_same_however_the_bytes_come(size: int) -> None:
    content = b'{"a":1}\r\n\n  \n{"b":"' + "ü".encode() * 5 + b'"}\n{"c":3}'

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    found = [(number, json.loads(line)) async for number, line in split(parts())]
    assert found == [(1, {"a": 1}), (4, {"b": "ü" * 5}), (5, {"c": 3})]


@pytest.mark.parametrize(
    ("line", "faults"),
    [
        (written(), []),
        (b"\xef\xbb\xbf" + written(), []),
        (b"\xff", [("invalid_json_line", None)]),
        (b"[1]", [("invalid_json_line", None)]),
        (b"{" * 9_000, [("invalid_json_line", None)]),
        (written(custom_id=...), [("missing_required_parameter", "custom_id")]),
        (written(custom_id=7), [("missing_required_parameter", "custom_id")]),
        (written(custom_id="x" * 513), [("missing_required_parameter", "custom_id")]),
        (written(custom_id="x\0"), [("missing_required_parameter", "custom_id")]),
        (written(method="post"), [("invalid_method", "method")]),
        (written(method=...), [("invalid_method", "method")]),
        (written(url="/v1/embeddings"), [("invalid_url", "url")]),
        (written(url="https://example.org/v1/chat/completions"), [("invalid_url", "url")]),
        (written(body=...), [("missing_required_parameter", "body")]),
        (written(body=[]), [("missing_required_parameter", "body")]),
        (written(body={"model": ""}), [("missing_required_parameter", "body.model")]),
        (written(body={"model": None, "stream": True}), [
            ("missing_required_parameter", "body.model"), ("invalid_request", "body.stream"),
        ]),
        (b"{}", [
            ("missing_required_parameter", "custom_id"), ("invalid_method", "method"), ("invalid_url", "url"),
            ("missing_required_parameter", "body"),
        ]),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_with_a_line_is_told(line: bytes, faults: list[tuple[str, str | None]]) -> None:
    lines = Lines(CHAT)
    read = lines.read(1, line)
    assert [(one.code, one.param) for one in lines.faults] == faults
    assert (read is None) is bool(faults)
    assert all(one.line == 1 for one in lines.faults)


def test_a_custom_id_stands_once_in_a_file() -> None:
    lines = Lines(CHAT)
    assert lines.read(1, written()) == Line(1, "a", b'{"model": "m"}', "m")
    assert lines.read(2, written()) is None
    assert [(one.code, one.line) for one in lines.settle()] == [("duplicate_custom_id", 2)]


def test_a_file_as_a_whole_is_looked_at_too() -> None:
    assert [one.code for one in Lines(CHAT).settle()] == ["empty_file"]
    lines = Lines(CHAT)
    for number in range(MOST_LINES + 1):
        lines.read(number + 1, written(custom_id=f"r{number}"))
    assert [one.code for one in lines.settle()] == ["too_many_requests"]
    bad = Lines(CHAT)
    for number in range(MOST_FAULTS + 5):
        bad.read(number + 1, b"[]")
    told = bad.settle()
    assert len(told) == MOST_FAULTS + 1
    assert told[-1].message.startswith("5 more")


@pytest.mark.parametrize("body", [b'{"a":\n 1}', b"not json\nat all", b"", b"\xff\0"])
def test_an_answer_is_one_line_whatever_it_holds(body: bytes) -> None:
    line = answer_line(Line(1, "a\nb", b"{}"), Answered(200, body, "req_1"))
    assert "\n" not in line
    assert "\0" not in line
    told = json.loads(line)
    assert told["custom_id"] == "a\nb"
    assert told["response"]["request_id"] == "req_1"
    assert told.keys() == {"id", "custom_id", "response", "error"}


def test_a_request_that_was_not_asked_has_an_error_and_no_response() -> None:
    told = json.loads(failed_line(Line(1, "a", b"{}"), "batch_expired", "Too late."))
    assert told["response"] is None
    assert told["error"] == {"code": "batch_expired", "message": "Too late."}


def output(**usage: Any) -> bytes:
    return json.dumps({"response": {"status_code": 200, "body": {"usage": usage or None}}}).encode()


def test_totals_are_sums_of_what_every_answer_told() -> None:
    tally = Tally()
    tally.add(output(prompt_tokens=5, completion_tokens=2, prompt_tokens_details={"cached_tokens": 3}))
    tally.add(output(input_tokens=4, output_tokens=6, output_tokens_details={"reasoning_tokens": 5}))
    told = json.loads(tally.written())
    assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (9, 8, 17)
    assert told["input_tokens_details"]["cached_tokens"] == 3
    assert told["output_tokens_details"]["reasoning_tokens"] == 5


@pytest.mark.parametrize("silent", [output(), b"{}", b"broken", b'{"response":{"body":7}}'])
def test_one_answer_that_tells_nothing_leaves_the_total_unknown(silent: bytes) -> None:
    tally = Tally()
    tally.add(output(prompt_tokens=5, completion_tokens=2))
    tally.add(silent)
    assert tally.written() == ""
