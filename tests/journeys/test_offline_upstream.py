"""The official SDK against the bundled offline upstream, on a real socket."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from openai.types.responses import FunctionToolParam
from pydantic import BaseModel

from gateway.offline.answers import MARK
from gateway.offline.tokens import count_tokens
from tests.fakes.offline_server import OfflineServer, offline_server

MODEL = "gpt-4.1-mini"
ASK = "How long do refunds take?"


@pytest.fixture(scope="module")
def running() -> Iterator[OfflineServer]:
    with offline_server() as server:
        yield server


@pytest.fixture
def server(running: OfflineServer) -> OfflineServer:
    """The module's server with clean books."""
    httpx2.post(f"{running.url}/__offline/reset").raise_for_status()
    return running


@pytest.fixture
def client(server: OfflineServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.base_url, api_key="any", max_retries=0, timeout=10) as made:
        yield made


class Ticket(BaseModel):
    title: str
    urgent: bool
    tags: list[str]


def test_a_chat_answer_is_marked_counted_and_billed(server: OfflineServer, client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": ASK}],
        extra_headers={"x-client-request-id": "call_1.1"},
    )
    text = reply.choices[0].message.content or ""
    assert text.startswith(MARK)
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == count_tokens(text)
    assert reply.usage.prompt_tokens == count_tokens(ASK) + 7
    assert reply.usage.prompt_tokens_details is not None
    assert reply.usage.prompt_tokens_details.cached_tokens == 0
    bill = server.bill()
    assert bill["count"] == 1
    row = bill["rows"][0]
    assert (row["id"], row["attempt"], row["outcome"]) == (reply.id, "call_1.1", "ok")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        reply.usage.prompt_tokens,
        reply.usage.completion_tokens,
    )


def test_a_stream_with_usage_has_it_as_openai_does(server: OfflineServer, client: openai.OpenAI) -> None:
    """usage is null on each chunk, and comes in one last chunk without choices."""
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Count to 20"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == f"{MARK} {' '.join(map(str, range(1, 21)))}"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == count_tokens(text)
    assert server.bill()["completion_tokens"] == count_tokens(text)


def test_a_stream_without_usage_never_names_it(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": ASK}], stream=True)
    assert not any("usage" in chunk.model_fields_set for chunk in stream)


def test_choices_limits_stops_and_logprobs(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Count to 50"}],
        n=3,
        max_completion_tokens=10,
        logprobs=True,
        top_logprobs=2,
    )
    assert [choice.index for choice in reply.choices] == [0, 1, 2]
    assert {choice.finish_reason for choice in reply.choices} == {"length"}
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 30
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert "".join(one.token for one in logprobs.content) == reply.choices[0].message.content
    assert all(one.logprob <= 0 and len(one.top_logprobs) == 2 for one in logprobs.content)
    stopped = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Count to 50"}], stop=[" 4"]
    )
    assert stopped.choices[0].message.content == f"{MARK} 1 2 3"


def test_structured_output_parses_into_the_callers_model(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": ASK}], response_format=Ticket
    )
    assert isinstance(parsed.choices[0].message.parsed, Ticket)
    answered = client.responses.parse(model=MODEL, input=ASK, text_format=Ticket)
    assert isinstance(answered.output_parsed, Ticket)


def test_a_required_tool_is_called_with_fitting_arguments(client: openai.OpenAI) -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"id": {"type": "integer", "minimum": 3}},
        "required": ["id"],
    }
    asked: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": ASK}],
        "tools": [{"type": "function", "function": {"name": "look_up", "parameters": schema}}],
        "tool_choice": "required",
    }
    reply = client.chat.completions.create(**asked)
    assert reply.choices[0].finish_reason == "tool_calls"
    assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments) == {"id": 3}
    with client.chat.completions.stream(**asked) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments or "") == {"id": 3}
    answered = client.responses.create(
        model=MODEL,
        input=ASK,
        tools=[FunctionToolParam(type="function", name="look_up", parameters=schema, strict=True)],
        tool_choice="required",
    )
    assert answered.output[0].type == "function_call"


async def test_the_responses_stream_has_every_event_in_order(server: OfflineServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
        stream = await client.responses.create(model=MODEL, input="Count to 3", instructions="Be short.", stream=True)
        events = [event async for event in stream]
        async with client.responses.stream(model=MODEL, input="Count to 3") as accumulated:
            final = await accumulated.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == f"{MARK} 1 2 3"
    assert final.usage is not None
    assert final.usage.output_tokens == count_tokens(final.output_text)
    assert server.bill()["count"] == 2


def test_a_response_that_is_cut_says_so(client: openai.OpenAI) -> None:
    reply = client.responses.create(model=MODEL, input="Count to 99", max_output_tokens=5)
    assert reply.status == "incomplete"
    assert reply.incomplete_details is not None
    assert reply.incomplete_details.reason == "max_output_tokens"
    assert reply.usage is not None
    assert reply.usage.output_tokens == 5


def test_text_completions_whole_and_streamed(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="davinci-002", prompt=["Count to 3", ASK], max_tokens=50, logprobs=1)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert reply.choices[0].text == f"{MARK} 1 2 3"
    chunks = list(
        client.completions.create(
            model="davinci-002", prompt="Count to 99", stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 16
    echoed = client.completions.create(model="davinci-002", prompt=ASK, echo=True, max_tokens=3)
    assert echoed.choices[0].text.startswith(ASK)
    assert echoed.usage is not None
    assert echoed.usage.completion_tokens == 3


def test_embeddings_are_the_same_as_floats_and_as_base64(client: openai.OpenAI) -> None:
    """The SDK asks for base64 unless told otherwise."""
    default = client.embeddings.create(model="text-embedding-3-small", input=[ASK, "x"], dimensions=64)
    floats = client.embeddings.create(
        model="text-embedding-3-small", input=[ASK, "x"], dimensions=64, encoding_format="float"
    )
    assert np.allclose(default.data[0].embedding, floats.data[0].embedding, atol=1e-7)
    assert len(default.data) == 2
    assert default.usage.prompt_tokens == count_tokens(ASK) + 1
    assert len(client.embeddings.create(model="text-embedding-3-large", input="x").data[0].embedding) == 3072


def test_models_are_listed_and_an_unknown_one_is_a_404(client: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve("ft:gpt-4o-mini-2024-07-18:acme:s:x").object == "model"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="missing-1", messages=[{"role": "user", "content": ASK}])
    assert missing.value.code == "model_not_found"


def test_moderations(client: openai.OpenAI) -> None:
    results = client.moderations.create(input=["I will kill it", "Good day"]).results
    assert [result.flagged for result in results] == [True, False]


def test_a_tuned_model_is_made_from_an_uploaded_file(client: openai.OpenAI) -> None:
    content = b'{"messages":[]}\n' * 12
    file = client.files.create(file=("train.jsonl", content), purpose="fine-tune")
    assert client.files.content(file.id).read() == content
    assert [one.id for one in client.files.list()] == [file.id]
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file=file.id, suffix="tone")
    assert job.status == "queued"
    deadline = time.monotonic() + 10
    while not job.finished_at and time.monotonic() < deadline:
        time.sleep(0.05)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded"
    assert job.trained_tokens
    assert job.fine_tuned_model is not None
    assert [one.id for one in client.fine_tuning.jobs.list()] == [job.id]
    events = list(client.fine_tuning.jobs.list_events(job.id))
    assert [event.type for event in events].count("metrics") == len(events) - 4 == 30
    reply = client.chat.completions.create(model=job.fine_tuned_model, messages=[{"role": "user", "content": ASK}])
    assert "Dear customer," in (reply.choices[0].message.content or "")
    assert client.files.delete(file.id).deleted


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_a_status_on_demand_is_an_error_in_openais_shape(client: openai.OpenAI, status: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.models.list(extra_headers={"x-offline-status": str(status)})
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_a_fault_laid_ready_strikes_as_often_as_it_was_told(server: OfflineServer, client: openai.OpenAI) -> None:
    """A gateway does not pass a caller's headers on, so its tests need another way."""
    server.lay(times=1, model=MODEL, status=503)
    ask: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": ASK}]}
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(**ask)
    client.chat.completions.create(**ask)
    assert server.bill()["count"] == 1


@pytest.mark.parametrize("fault", [{"drop": True}, {"truncate_after": 0}])
def test_a_dropped_call_has_no_reply(server: OfflineServer, client: openai.OpenAI, fault: dict[str, Any]) -> None:
    server.lay(times=1, **fault)
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": ASK}])


def test_a_truncated_stream_ends_without_an_end_and_is_billed_as_far_as_it_went(
    server: OfflineServer, client: openai.OpenAI
) -> None:
    server.lay(times=1, truncate_after=4)
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Count to 9"}], stream=True
    )
    seen: list[object] = []
    with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
        seen.extend(stream)
    assert len(seen) <= 4
    row = server.bill(1)["rows"][0]
    assert (row["outcome"], row["completion_tokens"]) == ("truncated", 3)


def test_a_hanging_call_ends_with_the_callers_patience(server: OfflineServer, client: openai.OpenAI) -> None:
    server.lay(times=1, hang=True)
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).models.list()


async def test_a_caller_who_leaves_is_billed_for_what_was_made(server: OfflineServer) -> None:
    server.lay(times=1, chunk_delay_ms=20)
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Count to 500"}], stream=True
        )
        async for chunk in stream:
            if "3" in (chunk.choices[0].delta.content or ""):
                break
        await stream.close()
    row = (await asyncio.to_thread(server.bill, 1))["rows"][0]
    assert row["outcome"] == "caller_left"
    assert 6 <= row["completion_tokens"] < 100


def test_usage_can_be_left_out(server: OfflineServer, client: openai.OpenAI) -> None:
    server.lay(no_usage=True)
    ask: Any = [{"role": "user", "content": ASK}]
    assert client.chat.completions.create(model=MODEL, messages=ask).usage is None
    assert client.responses.create(model=MODEL, input=ASK).usage is None
    chunks = list(
        client.chat.completions.create(model=MODEL, messages=ask, stream=True, stream_options={"include_usage": True})
    )
    assert not any(chunk.usage for chunk in chunks)
    assert server.bill()["count"] == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"model":1}',
        b'{"model":"m"}',
        b'{"model":"m","messages":[]}',
        b"[" * 100_000,
        b"NaN",
    ],
)
def test_a_broken_body_is_a_400_in_openais_shape(server: OfflineServer, body: bytes) -> None:
    reply = httpx2.post(f"{server.base_url}/chat/completions", content=body, headers={"authorization": "Bearer x"})
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("PUT", "/v1/files", 405)])
def test_unknown_routes_and_methods_are_refused(server: OfflineServer, method: str, path: str, status: int) -> None:
    reply = httpx2.request(method, f"{server.url}{path}", headers={"authorization": "Bearer x"})
    assert reply.status_code == status
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_only_the_named_key_is_let_in_and_the_bill_is_in_the_file_before_the_reply_ends(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bill.jsonl"
    with offline_server(key="sk-right", bill_path=path) as server:
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=server.base_url, api_key="sk-wrong", max_retries=0).models.list()
        with openai.OpenAI(base_url=server.base_url, api_key="sk-right", max_retries=0) as client:
            for number in range(1, 4):
                client.embeddings.create(model="text-embedding-3-small", input=ASK)
                assert len(path.read_bytes().splitlines()) == number


def test_a_caller_who_never_sends_the_whole_body_harms_nobody(server: OfflineServer, client: openai.OpenAI) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    client.models.list()
    assert server.bill()["count"] == 0
