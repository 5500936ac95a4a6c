"""An app points the official SDK at the gateway and changes nothing else."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway

MODEL = "gpt-4.1-mini"
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "find_order",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}},
            "required": ["number"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class Ticket(BaseModel):
    title: str
    urgent: bool


def ask(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_a_plain_answer_comes_with_its_way_in_the_headers(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model=MODEL, messages=ask("Count to 12"))
    reply = raw.parse()
    assert reply.choices[0].message.content == "[offline rehearsal] 1 2 3 4 5 6 7 8 9 10 11 12"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 16
    assert raw.headers["x-gateway-path"] == "direct"
    assert raw.headers["x-gateway-rule"] == "everything-else"
    assert raw.headers["x-gateway-model"] == MODEL
    assert raw.headers["x-gateway-decision"].startswith("dec_")
    assert raw.headers["x-request-id"].startswith("req_")


def test_a_callers_own_request_id_comes_back(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(
        model=MODEL, messages=ask("Hi"), extra_headers={"x-request-id": "my-own.id_1"}
    )
    assert raw.headers["x-request-id"] == "my-own.id_1"


def test_a_stream_without_include_usage_shows_no_trace_of_usage(gateway: RunningGateway) -> None:
    """The gateway asks for usage on its own account; the caller's bytes are as if it had not."""
    reply = gateway.post("/v1/chat/completions", {"model": MODEL, "messages": ask("Count to 30"), "stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert b"usage" not in reply.content
    assert reply.content.endswith(b"data: [DONE]\n\n")
    chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text.endswith(" ".join(map(str, range(1, 31))))


def test_a_stream_with_include_usage_ends_with_it(gateway: RunningGateway) -> None:
    chunks = list(
        gateway.client().chat.completions.create(
            model=MODEL, messages=ask("Count to 5"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 9
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])


def test_a_stream_that_asked_for_usage_is_the_upstreams_own_bytes(
    gateway: RunningGateway, upstream: OfflineServer
) -> None:
    body = {
        "model": MODEL,
        "messages": ask("Count to 8"),
        "stream": True,
        "stream_options": {"include_usage": True},
        "logprobs": True,
        "top_logprobs": 2,
        "n": 2,
    }
    through = gateway.post("/v1/chat/completions", body).text
    direct = gateway.http.post(
        f"{upstream.base_url}/chat/completions",
        json=body,
        headers={"authorization": "Bearer sk-upstream-secret-of-the-operator"},
    ).text

    def without_ids(text: str) -> list[str]:
        lines = []
        for line in text.splitlines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                lines.append(json.dumps({**event, "id": "", "created": 0}))
            else:
                lines.append(line)
        return lines

    assert without_ids(through) == without_ids(direct)


async def test_the_async_client_streams_too(gateway: RunningGateway) -> None:
    async with gateway.async_client() as client:
        stream = await client.chat.completions.create(model=MODEL, messages=ask("Count to 20"), stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text.endswith("18 19 20")


def test_tools_are_called_and_answered(gateway: RunningGateway) -> None:
    client = gateway.client()
    messages = ask("Please use find_order")
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
    assert first.choices[0].finish_reason == "tool_calls"
    calls = first.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert isinstance(json.loads(calls[0].function.arguments)["number"], int)
    messages = [
        *messages,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": calls[0].id,
                    "type": "function",
                    "function": {"name": calls[0].function.name, "arguments": calls[0].function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": calls[0].id, "content": "shipped on Monday"},
    ]
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
    assert "shipped on Monday" in (second.choices[0].message.content or "")


def test_a_streamed_tool_call_accumulates(gateway: RunningGateway) -> None:
    with gateway.client().chat.completions.stream(
        model=MODEL, messages=ask("Hello"), tools=[TOOL], tool_choice="required"
    ) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.name == "find_order"


def test_a_structured_output_parses_into_the_callers_type(gateway: RunningGateway) -> None:
    parsed = gateway.client().chat.completions.parse(
        model=MODEL, messages=ask("A ticket, please"), response_format=Ticket
    )
    assert isinstance(parsed.choices[0].message.parsed, Ticket)


def test_logprobs_and_several_choices_pass_untouched(gateway: RunningGateway) -> None:
    reply = gateway.client().chat.completions.create(
        model=MODEL, messages=ask("Count to 9"), n=3, logprobs=True, top_logprobs=2, max_completion_tokens=5
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [len(one.top_logprobs) for one in logprobs.content] == [2] * 5
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 15


def test_an_alias_is_answered_by_the_model_behind_it(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model="house-model", messages=ask("Hi"))
    assert raw.headers["x-gateway-model"] == MODEL
    assert raw.parse().model == MODEL


def test_an_upstreams_refusal_is_given_as_it_is(gateway: RunningGateway) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        gateway.client().chat.completions.create(model="missing-one", messages=ask("Hi"))
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_concurrent_callers_each_get_their_own_answer(gateway: RunningGateway) -> None:
    """A nonce in each question comes back in its own answer."""
    client = gateway.client()

    def one(_: int) -> bool:
        nonce = uuid.uuid4().hex
        reply = client.chat.completions.create(model=MODEL, messages=ask(nonce))
        return nonce in (reply.choices[0].message.content or "")

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(160)))
