import json
from typing import Any

import msgspec
import pytest

from gateway.core.decision import Arm
from gateway.wire.rewrite import rewritten
from tests.fakes.calls import CHAT, DIRECT, chat, read

OTHER = Arm(path="direct", upstream="main", model="other")
RESPONSES = "/v1/responses"


def test_nothing_to_change_gives_the_callers_own_bytes() -> None:
    body = b'{"model" : "gpt-4.1-mini",  "messages":[ ], "x":1.0e1}'
    call = read(body)
    given, injected = rewritten(call, DIRECT, may_ask_usage=True)
    assert given is call.inbound.body
    assert not injected


def test_only_the_models_name_is_changed() -> None:
    call = read(b'{"model" : "gpt-4.1-mini","seed":1.0e1,"messages":[ {"role":"user", "content":"x"} ]}')
    body, _ = rewritten(call, OTHER, may_ask_usage=True)
    assert body == b'{"model":"other","seed":1.0e1,"messages":[ {"role":"user", "content":"x"} ]}'


def test_a_passed_on_call_keeps_its_model() -> None:
    call = read({"model": "house", "input": "x"}, "/v1/moderations")
    arm = Arm(path="passthrough", upstream="main", model="real")
    assert rewritten(call, arm, may_ask_usage=True) == (call.inbound.body, False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream_options": {"include_obfuscation": False}}, {"include_obfuscation": False, "include_usage": True}),
    ],
)
def test_a_streams_usage_is_asked_for_beside_the_callers_options(
    options: dict[str, Any], expected: dict[str, Any]
) -> None:
    body, injected = rewritten(chat(stream=True, **options), DIRECT, may_ask_usage=True)
    assert injected
    assert json.loads(body)["stream_options"] == expected


def test_usage_is_not_asked_for_where_it_comes_anyway_or_is_not_taken() -> None:
    asked = chat(stream=True, stream_options={"include_usage": True})
    assert rewritten(asked, DIRECT, may_ask_usage=True) == (asked.inbound.body, False)
    plain = chat(stream=False)
    assert rewritten(plain, DIRECT, may_ask_usage=True) == (plain.inbound.body, False)
    streamed = chat(stream=True)
    assert rewritten(streamed, DIRECT, may_ask_usage=False) == (streamed.inbound.body, False)
    response = read({"model": "gpt-4.1-mini", "input": "x", "stream": True}, RESPONSES)
    assert rewritten(response, DIRECT, may_ask_usage=True) == (response.inbound.body, False)


TURNS = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "first"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": [{"type": "text", "text": "last"}], "name": "Ann"},
]


@pytest.mark.parametrize(("path", "field"), [(CHAT, "messages"), (RESPONSES, "input")])
def test_sources_stand_just_before_the_last_users_turn(path: str, field: str) -> None:
    call = read({"model": "gpt-4.1-mini", field: TURNS, "unknown": 1}, path)
    body, _ = rewritten(call, DIRECT, may_ask_usage=True, block='The "sources".\n')
    sent = json.loads(body)
    assert sent[field] == [*TURNS[:3], {"role": "user", "content": 'The "sources".\n'}, TURNS[3]]
    assert sent["unknown"] == 1


def test_other_turns_keep_their_bytes() -> None:
    first = b'{"role" : "user","content":"caf\\u00e9", "x":1.0}'
    call = read(b'{"model":"gpt-4.1-mini","messages":[' + first + b"]}")
    body, _ = rewritten(call, DIRECT, may_ask_usage=True, block="S")
    assert body == b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"S"},' + first + b"]}"


def test_a_string_becomes_a_turn_behind_the_sources() -> None:
    call = read(b'{"model":"gpt-4.1-mini","input": "caf\\u00e9?"}', RESPONSES)
    body, _ = rewritten(call, DIRECT, may_ask_usage=True, block="S")
    assert body == (
        b'{"model":"gpt-4.1-mini","input":[{"role":"user","content":"S"},{"role":"user","content":"caf\\u00e9?"}]}'
    )


def test_a_key_that_stands_twice_goes_on_once_where_the_body_is_changed() -> None:
    """Upstreams differ in which of two they take: what was decided upon is what must be sent."""
    call = read(b'{"model":"dear","messages":[],"model":"cheap"}')
    assert call.model == "cheap"
    body, _ = rewritten(call, OTHER, may_ask_usage=True)
    assert body == b'{"model":"other","messages":[]}'
    assert msgspec.json.decode(body) == {"model": "other", "messages": []}
