import json
from typing import Any

import pytest

from gateway.core.call import Call
from gateway.core.decision import Parameters
from gateway.wire.parameters import bounded
from tests.fakes.calls import HELLO, chat, read

LIMITS = {"responses": "max_output_tokens", "completions": "max_tokens"}


def made(endpoint: str, **fields: Any) -> Call:
    if endpoint == "chat":
        return chat(**fields)
    question = {"input": "Hello"} if endpoint == "responses" else {"prompt": "Hello"}
    return read({"model": "gpt-4.1-mini", **question, **fields}, f"/v1/{endpoint}")


def capped(**caps: float) -> Parameters:
    return Parameters(caps=tuple(caps.items()))


def defaulted(**defaults: float) -> Parameters:
    return Parameters(defaults=tuple(defaults.items()))


def sent(call: Call, parameters: Parameters) -> dict[str, Any]:
    """What of the body is other than it came."""
    before = json.loads(call.inbound.body)
    after = json.loads(bounded(call, parameters).inbound.body)
    assert before.keys() <= after.keys()
    return {name: value for name, value in after.items() if name not in before or before[name] != value}


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [("chat", "max_completion_tokens"), ("responses", "max_output_tokens"), ("completions", "max_tokens")],
)
def test_each_endpoint_gets_a_default_under_its_own_name(endpoint: str, name: str) -> None:
    call = made(endpoint)
    assert sent(call, defaulted(max_tokens=90, temperature=0.25)) == {name: 90, "temperature": 0.25}
    assert bounded(call, defaulted(max_tokens=90)).output_limit == 90
    assert bounded(call, defaulted(temperature=0.25)).temperature == 0.25


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("chat", "max_tokens"),
        ("chat", "max_completion_tokens"),
        ("responses", "max_output_tokens"),
        ("completions", "max_tokens"),
    ],
)
def test_what_the_caller_says_is_cut_to_the_cap_under_the_name_that_the_caller_used(endpoint: str, name: str) -> None:
    above, below = made(endpoint, **{name: 900}), made(endpoint, **{name: 90})
    assert sent(above, capped(max_tokens=100)) == {name: 100}
    assert bounded(above, capped(max_tokens=100)).output_limit == 100
    assert bounded(below, capped(max_tokens=100)) is below
    assert bounded(below, defaulted(max_tokens=5)) is below


def test_a_chat_call_that_uses_both_spellings_is_capped_in_both() -> None:
    both = chat(max_tokens=900, max_completion_tokens=800)
    assert sent(both, capped(max_tokens=100)) == {"max_tokens": 100, "max_completion_tokens": 100}
    one_above = chat(max_tokens=900, max_completion_tokens=80)
    assert sent(one_above, capped(max_tokens=100)) == {"max_tokens": 100}


@pytest.mark.parametrize("endpoint", ["chat", "responses", "completions"])
@pytest.mark.parametrize(("asked", "goes"), [(1.8, 0.5), (0.5, None), (0.1, None), (0, None), (2, 0.5)])
def test_a_temperature_is_capped(endpoint: str, asked: float, goes: float | None) -> None:
    call = made(endpoint, temperature=asked)
    assert sent(call, capped(temperature=0.5)) == ({} if goes is None else {"temperature": goes})
    assert bounded(call, capped(temperature=0.5)).temperature == (asked if goes is None else goes)


def test_a_cap_below_what_a_model_takes_by_itself_is_written() -> None:
    assert sent(chat(), capped(temperature=0.5)) == {"temperature": 0.5}
    assert sent(chat(), capped(temperature=1.5)) == {}
    assert sent(chat(), capped(max_tokens=100)) == {"max_completion_tokens": 100}


def test_a_cap_never_makes_an_answer_longer() -> None:
    """The legacy endpoint stops after 16 tokens when nobody says more."""
    call = made("completions")
    assert sent(call, capped(max_tokens=100)) == {}
    assert bounded(call, capped(max_tokens=100)).output_limit == 16
    assert sent(call, capped(max_tokens=7)) == {"max_tokens": 7}
    assert bounded(call, capped(max_tokens=7)).output_limit == 7


def test_a_default_is_capped_too() -> None:
    parameters = Parameters(
        defaults=(("max_tokens", 500), ("temperature", 1.4)), caps=(("max_tokens", 200), ("temperature", 0.9))
    )
    assert sent(chat(), parameters) == {"max_completion_tokens": 200, "temperature": 0.9}
    assert bounded(chat(), parameters).output_limit == 200


@pytest.mark.parametrize(
    ("endpoint", "name"), [("chat", "max_completion_tokens"), *LIMITS.items()], ids=["chat", *LIMITS]
)
def test_null_says_nothing(endpoint: str, name: str) -> None:
    call = made(endpoint, **{name: None}, temperature=None)
    assert sent(call, defaulted(max_tokens=90, temperature=0.2)) == {name: 90, "temperature": 0.2}
    older = chat(max_tokens=None)
    assert sent(older, capped(max_tokens=90)) == {"max_completion_tokens": 90}


@pytest.mark.parametrize("value", ["hot", "2", True, [2], {"of": 2}])
def test_what_is_no_number_is_the_upstreams_to_judge(value: object) -> None:
    call = chat(temperature=value)
    assert bounded(call, Parameters(defaults=(("temperature", 0.1),), caps=(("temperature", 0.5),))) is call


def test_every_other_byte_stays_as_it_came() -> None:
    body = (
        b'{"model": "gpt-4.1-mini",  "messages":[ {"role":"user","content":"\\u00e9 \xc3\xa9"} ] ,'
        b'"temperature":1.90, "seed": 12345678901234567890123, "logit_bias" : {"5": -1.0e+2}, "stop": null}'
    )
    changed = bounded(read(body), capped(temperature=0.5, max_tokens=64)).inbound.body
    assert changed == (
        b'{"model":"gpt-4.1-mini","messages":[ {"role":"user","content":"\\u00e9 \xc3\xa9"} ],"temperature":0.5,'
        b'"seed":12345678901234567890123,"logit_bias":{"5": -1.0e+2},"stop":null,"max_completion_tokens":64}'
    )
    untouched = read(body)
    assert bounded(untouched, capped(temperature=1.95)).inbound.body == body


def test_what_has_no_such_parameters_is_left_alone() -> None:
    everything = Parameters(defaults=(("max_tokens", 5), ("temperature", 0.1)), caps=(("max_tokens", 5),))
    for call in (
        read({"model": "text-embedding-3-small", "input": "Hello"}, "/v1/embeddings"),
        read({"model": "gpt-image-1", "prompt": "A cat"}, "/v1/images/generations"),
    ):
        assert bounded(call, everything) is call


def test_the_rest_of_the_call_is_the_same() -> None:
    call = chat(user="u-1", metadata={"task": "tone"}, n=2, stream=True, tools=[{"type": "function"}])
    changed = bounded(call, capped(max_tokens=10))
    assert json.loads(changed.inbound.body)["messages"] == HELLO["messages"]
    for field in ("user", "metadata", "choices", "stream", "has_tools", "turns", "text", "model", "endpoint"):
        assert getattr(changed, field) == getattr(call, field)
