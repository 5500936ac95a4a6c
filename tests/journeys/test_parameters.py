"""What a rule says of its calls: defaults and caps, what is set aside for them, and how often they are tried."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway, free_port, running_gateway
from tests.fakes.scripted_server import ScriptedServer, Visit, scripted

BOUNDED, CAPPED = {"task": "bounded"}, {"task": "capped"}
RULES = """
rules:
  - name: bounded
    when: {metadata: {task: bounded}}
    use:
      path: direct
      model: scripted-model
      defaults: {max_tokens: 70, temperature: 0.25}
      caps: {max_tokens: 90, temperature: 0.75}
  - name: capped
    when: {metadata: {task: capped}}
    use: {path: direct, model: gpt-4.1-mini, caps: {max_tokens: 12}}
  - {name: once, when: {metadata: {task: once}}, use: {path: direct, model: scripted-model, attempts: 1}}
  - {name: twice, when: {metadata: {task: twice}}, use: {path: direct, model: scripted-model}}
  - {name: rest, use: {path: direct, model: gpt-4.1-mini}}
"""
COUNT = "Count to 100"
COUNTING: list[ChatCompletionMessageParam] = [{"role": "user", "content": COUNT}]
WHOLE = b'{"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
EVENTS = b"data: " + WHOLE + b"\n\ndata: [DONE]\n\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: OfflineServer) -> Iterator[RunningGateway]:
    environment = {"SCRIPTED_URL": f"http://127.0.0.1:{free_port()}/v1"}
    folder = tmp_path_factory.mktemp("parameters")
    with running_gateway(folder, upstream.base_url, environment=environment, files={"routing.yaml": RULES}) as running:
        yield running


async def answer(visit: Visit) -> None:
    streams = json.loads(visit.body).get("stream")
    kind, body = (b"text/event-stream", EVENTS) if streams else (b"application/json", WHOLE)
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body))


def taken(server: ScriptedServer) -> dict[str, Any]:
    """What of the last request's body may be bounded."""
    body: dict[str, Any] = json.loads(server.visits[-1].body)
    return {name: body[name] for name in body if name.startswith("max_") or name == "temperature"}


async def test_each_endpoints_upstream_gets_the_defaults_under_its_own_names(gateway: RunningGateway) -> None:
    gateway.key()
    async with scripted(answer, port=gateway.scripted_port) as server, gateway.async_client() as client:
        chat = client.chat.completions.with_raw_response
        given: Any = {"model": "auto", "messages": COUNTING, "metadata": BOUNDED}
        await chat.create(**given)
        assert taken(server) == {"max_completion_tokens": 70, "temperature": 0.25}
        await chat.create(**given, stream=True)
        assert taken(server) == {"max_completion_tokens": 70, "temperature": 0.25}
        await client.responses.with_raw_response.create(model="auto", input=COUNT, metadata=BOUNDED)
        assert taken(server) == {"max_output_tokens": 70, "temperature": 0.25}
        await client.completions.with_raw_response.create(model="auto", prompt=COUNT, extra_body={"metadata": BOUNDED})
        assert taken(server) == {"max_tokens": 70, "temperature": 0.25}


async def test_each_endpoints_upstream_gets_at_most_the_caps(gateway: RunningGateway) -> None:
    gateway.key()
    async with scripted(answer, port=gateway.scripted_port) as server, gateway.async_client() as client:
        chat = client.chat.completions.with_raw_response
        for streams in (False, True):
            given: Any = {"model": "auto", "messages": COUNTING, "metadata": BOUNDED, "stream": streams}
            await chat.create(**given, max_tokens=5_000, temperature=1.5)
            assert taken(server) == {"max_tokens": 90, "temperature": 0.75}
            await chat.create(**given, max_completion_tokens=5_000, temperature=0.5)
            assert taken(server) == {"max_completion_tokens": 90, "temperature": 0.5}
            await chat.create(**given, max_tokens=9)
            assert taken(server) == {"max_tokens": 9, "temperature": 0.25}
        await client.responses.with_raw_response.create(
            model="auto", input=COUNT, metadata=BOUNDED, max_output_tokens=5_000, temperature=2
        )
        assert taken(server) == {"max_output_tokens": 90, "temperature": 0.75}
        await client.completions.with_raw_response.create(
            model="auto", prompt=COUNT, max_tokens=5_000, temperature=0, extra_body={"metadata": BOUNDED}
        )
        assert taken(server) == {"max_tokens": 90, "temperature": 0}


def test_an_answer_ends_at_the_cap(gateway: RunningGateway) -> None:
    """Judged by an upstream that keeps to what it is sent."""
    client = gateway.client("capped")
    whole = client.chat.completions.create(model="auto", messages=COUNTING, metadata=CAPPED)
    assert whole.usage is not None
    assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("length", 12)
    chunks = list(client.chat.completions.create(model="auto", messages=COUNTING, metadata=CAPPED, stream=True))
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "length"
    response = client.responses.create(model="auto", input=COUNT, metadata=CAPPED, max_output_tokens=500)
    assert response.usage is not None
    assert (response.status, response.usage.output_tokens) == ("incomplete", 12)
    legacy = client.completions.create(model="auto", prompt=COUNT, max_tokens=500, extra_body={"metadata": CAPPED})
    assert legacy.usage is not None
    assert legacy.usage.completion_tokens == 12
    assert {row["output_tokens"] for row in gateway.rows_of("capped", 4)} == {12}
    unbounded = client.chat.completions.create(model="auto", messages=COUNTING)
    assert unbounded.choices[0].finish_reason == "stop"


def test_what_is_set_aside_is_what_the_cap_allows(gateway: RunningGateway) -> None:
    """Without a cap 4,096 tokens are set aside, and there is not so much money."""
    gateway.team("frugal", monthly_budget_usd="0.001")
    client = gateway.client("frugal")
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="auto", messages=COUNTING)
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="auto", messages=COUNTING, max_tokens=4_000)
    for fields in ({}, {"max_tokens": 4_000}):
        given: Any = {"model": "auto", "messages": COUNTING, "metadata": CAPPED, **fields}
        assert client.chat.completions.create(**given).choices[0].finish_reason == "length"


def test_what_was_expected_of_a_call_is_within_its_cap(gateway: RunningGateway) -> None:
    raw = gateway.client().chat.completions.with_raw_response.create(model="auto", messages=COUNTING, metadata=CAPPED)
    (cost,) = gateway.decision(raw.headers["x-gateway-decision"])["record"]["arms"]
    assert cost["output_tokens"] == 12


async def test_a_call_is_tried_as_often_as_its_rule_says(gateway: RunningGateway) -> None:
    async def fail_first(visit: Visit) -> None:
        if len(server.visits) > 1:
            await answer(visit)
        else:
            await visit.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    gateway.key()
    async with gateway.async_client() as client:
        for task, tries in (("twice", 2), ("once", 1)):
            given: Any = {"model": "auto", "messages": COUNTING, "metadata": {"task": task}}
            async with scripted(fail_first, port=gateway.scripted_port) as server:
                if tries > 1:
                    await client.chat.completions.with_raw_response.create(**given)
                else:
                    with pytest.raises(openai.InternalServerError):
                        await client.chat.completions.with_raw_response.create(**given)
                assert len(server.visits) == tries
