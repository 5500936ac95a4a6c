"""What a run's model is asked, and what is read of its answer."""

import json
from typing import Any

import pytest

from gateway.core.answered import Answered
from gateway.tuning.evals.data_source import Asked, read_data_source
from gateway.tuning.evals.sampling import sampled
from gateway.tuning.evals.values import Sampled

PARAMS = {"max_completion_tokens": 9, "reasoning_effort": "low", "seed": 3, "temperature": 0, "top_p": 0.5}
MESSAGES = {
    "type": "template",
    "template": [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": [{"type": "input_text", "text": "{{item.q}}"}]},
        {"role": "assistant", "content": {"type": "output_text", "text": "Well"}},
    ],
}


def source_of(kind: str, **more: Any) -> Asked:
    written = {
        "type": kind,
        "model": "m",
        "source": {"type": "file_id", "id": "f"},
        "input_messages": MESSAGES,
        "sampling_params": PARAMS | more,
    }
    found = read_data_source(json.dumps(written).encode())
    assert isinstance(found, Asked)
    return found


async def asked(source: Asked, reply: object, status: int = 200) -> tuple[Sampled, str, dict[str, Any]]:
    seen: list[tuple[str, dict[str, Any]]] = []

    async def ask(path: str, body: bytes) -> Answered:
        seen.append((path, json.loads(body)))
        return Answered(status, reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    found = await sampled(source, {"q": "Why?"}, ask)
    ((path, body),) = seen
    return found, path, body


async def test_a_completion_is_asked_with_all_its_parameters() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    reply = {
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
    found, path, body = await asked(source_of("completions", tools=[tool], response_format={"type": "text"}), reply)
    assert path == "/v1/chat/completions"
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "Why?"},
            {"role": "assistant", "content": "Well"},
        ],
        "response_format": {"type": "text"},
        "tools": [tool],
        **PARAMS,
    }
    assert (found.namespace["output_text"], found.namespace["output_tools"]) == ("", [call])
    assert (found.finish_reason, found.error) == ("tool_calls", None)
    assert found.usage is not None
    assert (found.usage.model, found.usage.prompt_tokens) == ("m-1", 5)


async def test_a_response_is_asked_in_its_own_words_and_not_stored() -> None:
    reply = {
        "object": "response",
        "status": "incomplete",
        "model": "m-1",
        "output": [
            {"type": "reasoning", "summary": []},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": '{"a":'}, {"text": "1}"}],
            },
            {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"},
        ],
        "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
    }
    found, path, body = await asked(source_of("responses", text={"format": {"type": "json_object"}}), reply)
    assert path == "/v1/responses"
    assert body == {
        "model": "m",
        "input": [
            {"role": "system", "content": [{"type": "input_text", "text": "Be brief"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "Why?"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Well"}]},
        ],
        "max_output_tokens": 9,
        "reasoning": {"effort": "low"},
        "temperature": 0,
        "top_p": 0.5,
        "text": {"format": {"type": "json_object"}},
        "store": False,
    }
    assert (found.namespace["output_json"], found.finish_reason) == ({"a": 1}, "length")
    assert found.namespace["output_tools"][0]["function"]["name"] == "f"
    assert found.usage is not None
    assert found.usage.completion_tokens == 2


@pytest.mark.parametrize("kind", ["completions", "responses"])
@pytest.mark.parametrize("reply", [b"", b"[]", b'{"choices": []}', b"\xff"])
async def test_a_reply_that_cannot_be_read_is_an_error_and_no_answer(kind: str, reply: bytes) -> None:
    found, _, _ = await asked(source_of(kind), reply)
    assert found.error is not None
    assert found.error[0] == "unreadable_reply"


async def test_a_refusal_of_the_gateway_is_told() -> None:
    error = {"error": {"message": "not yours", "type": "t", "param": None, "code": "not_permitted"}}
    found, _, _ = await asked(source_of("completions"), error, 403)
    assert found.error == ("not_permitted", "403 not_permitted: not yours")
