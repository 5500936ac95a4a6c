"""Whatever a caller sends, the answer is a call or InvalidRequest: never another exception."""

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.wire.rewrite import rewritten
from gateway.wire.usage import MAX_TOKENS, read_usage, usage_of_body, usage_of_event
from tests.fakes.calls import DIRECT, read

PATHS = {
    "/v1/chat/completions": "messages",
    "/v1/responses": "input",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/batches": "x",
}
DEEP = 100_000
HOSTILE: dict[str, bytes] = {
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "open lists": b"[" * DEEP,
    "nan": b"NaN",
    "infinity": b"-Infinity",
    "1e400": b"1e400",
    "a number of 5,000 digits": b"9" * 5_000,
    "2**64": b"18446744073709551616",
    "lone surrogate": b'"\\ud800"',
    "reversed surrogates": b'"\\udc00\\ud800"',
    "invalid utf-8": b'"\xff\xfe"',
    "overlong utf-8": b'"\xc0\xaf"',
    "surrogate in utf-8": b'"\xed\xa0\x80"',
    "raw nul": b'"a\x00b"',
    "escaped nul": b'"a\\u0000b"',
    "bad escape": b'"\\x41"',
    "open string": b'"abc',
    "true": b"true",
    "null": b"null",
    "negative": b"-1",
    "empty": b"",
    "comment": b"/* x */ 1",
    "list of everything": b'[null,true,1,1.5,"x",{},[]]',
    "an object": b'{"role":1,"type":[],"content":{}}',
    "odd turns": b'[{"role":"user","content":[{"type":1,"text":{}}]},{"role":"tool"},{"type":"function_call"}]',
}
# Where in a body the hostile value stands.
FIELDS = (
    *("model", "messages", "input", "prompt", "stream", "stream_options", "n", "best_of", "max_tokens"),
    *(
        "max_completion_tokens",
        "max_output_tokens",
        "tools",
        "response_format",
        "text",
        "metadata",
        "instructions",
        "unknown",
    ),
)


def tried(body: bytes, path: str) -> None:
    """Reads and rewrites, as a call would be on its way up."""
    with contextlib.suppress(InvalidRequest):
        call = read(body, path)
        assert "\0" not in call.model
        block = "The sources." if call.rag_ready else None
        if path != "/v1/batches":
            rewritten(call, DIRECT, may_ask_usage=True, block=block)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_in_any_field(path: str, name: str) -> None:
    value = HOSTILE[name]
    for field in FIELDS:
        good = {"model": '"m"', PATHS[path]: '[{"role":"user","content":"hi"}]', "stream": "true"}
        rest = ",".join(f'"{key}":{text}' for key, text in good.items() if key != field)
        tried(b'{"%b":%b,%b}' % (field.encode(), value, rest.encode()), path)
        tried(b'{%b,"%b":%b}' % (rest.encode(), field.encode(), value), path)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body(path: str, name: str) -> None:
    tried(HOSTILE[name], path)
    tried(b'{"model":"m","messages":[],"input":"x"}' + HOSTILE[name], path)


@pytest.mark.parametrize(
    "name", ["deep lists", "nan", "lone surrogate", "invalid utf-8", "raw nul", "bad escape", "open string"]
)
@pytest.mark.parametrize("path", [path for path in PATHS if path != "/v1/batches"])
def test_what_is_no_json_is_refused_even_in_a_field_that_nobody_reads(path: str, name: str) -> None:
    """Passed on, it would be the upstream's parser that is tried out."""
    field = PATHS[path]
    good = '[{"role":"user","content":"hi"}]' if field in {"messages", "input"} else '"hi"'
    with pytest.raises(InvalidRequest):
        read(f'{{"model":"m","{field}":{good},"unknown":'.encode() + HOSTILE[name] + b"}", path)


@given(st.binary(max_size=200), st.sampled_from(list(PATHS)))
def test_any_bytes(body: bytes, path: str) -> None:
    tried(body, path)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), st.sampled_from(list(PATHS)))
def test_any_json_of_our_fields(body: dict[str, Any], path: str) -> None:
    tried(json.dumps({"model": "m", **body}).encode(errors="surrogatepass"), path)


@given(st.randoms(use_true_random=False), st.sampled_from(list(PATHS)))
def test_a_good_body_with_some_bytes_changed(chance: random.Random, path: str) -> None:
    body = bytearray(
        b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"caf\\u00e9"}]}],"input":"x","stream":true,'
        b'"stream_options":{"x":1},"tools":[{"type":"function"}],"metadata":{"a":"b"},"n":2,"max_tokens":5}'
    )
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(body))
        body[at : at + chance.randrange(3)] = bytes(
            chance.choices(b'{}[]",:\\\x00\xff19eEtn-.u', k=chance.randrange(3))
        )
    tried(bytes(body), path)


def test_a_refusal_says_what_is_wrong_and_not_how_we_found_out() -> None:
    told = []
    for value in HOSTILE.values():
        try:
            read(b'{"model":"m","messages":' + value + b"}")
        except InvalidRequest as fault:
            told.append(fault.message)
    assert len(told) > 10
    assert all(len(message) < 500 and "Traceback" not in message for message in told)


NUMBERS = JSON | st.integers(-10, MAX_TOKENS * 2) | st.sampled_from([2**63, 2**64, -(2**63), 1e400, "9", True, None])
DETAILS = st.dictionaries(st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens"]), NUMBERS)
USAGE = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"]), NUMBERS
).flatmap(
    lambda whole: st.dictionaries(
        st.sampled_from([f"{half}_tokens_details" for half in ("prompt", "completion", "input", "output")]),
        DETAILS | NUMBERS,
    ).map(lambda details: {**whole, **details})
)


@given(USAGE)
def test_any_usage_gives_counts_that_make_sense_or_none(usage: dict[str, Any]) -> None:
    raw = json.dumps(usage).encode(errors="surrogatepass")
    found = read_usage(raw)
    assert usage_of_body(b'{"usage":' + raw + b"}") == usage_of_event(b'{"usage":' + raw + b"}")
    if found is None:
        return
    assert 0 <= found.cached_tokens <= found.input_tokens <= MAX_TOKENS
    assert 0 <= found.reasoning_tokens <= found.output_tokens <= MAX_TOKENS
    assert 0 <= found.cache_write_tokens <= found.input_tokens - found.cached_tokens
    assert all(amount >= 0 for _, amount in found.by_kind())


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens", "prompt_tokens_details", "note"])
def test_a_hostile_usage_is_read_or_left(name: str, field: str) -> None:
    raw = b'{"input_tokens":1,"output_tokens":1,"%b":%b}' % (field.encode(), HOSTILE[name])
    found = read_usage(raw)
    assert found is None or (found.input_tokens, found.output_tokens) == (1, 1)
    usage_of_body(b'{"usage":' + raw + b"}")
    usage_of_event(b'{"response":{"usage":' + raw + b"}}")
