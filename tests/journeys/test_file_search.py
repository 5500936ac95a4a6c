"""The tool `file_search` and files named in messages: what is kept here is looked up here, on any model."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.fakes.running_gateway import RunningGateway
from tests.fakes.scripted_server import Visit, scripted

QUOKKAS = b"# Quokkas\n\nThe quokka is a small marsupial that lives on Rottnest Island.\n"
WOMBATS = b"# Wombats\n\nThe wombat digs burrows that are thirty metres long.\n"
ANSWER = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"scripted-model","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
)
ASKED: Any = [{"role": "user", "content": "Where does the quokka live?"}]


async def answer(visit: Visit) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
    await visit.write(head + ANSWER)


@pytest.fixture
def client(gateway: RunningGateway) -> openai.OpenAI:
    return gateway.client()


@pytest.fixture
def store(client: openai.OpenAI) -> Iterator[str]:
    made = client.vector_stores.create(name="animals")
    for name, text in (("quokka.md", QUOKKAS), ("wombat.md", WOMBATS)):
        client.vector_stores.files.upload_and_poll(
            vector_store_id=made.id, file=(name, text), attributes={"animal": name.removesuffix(".md")}
        )
    yield made.id
    client.vector_stores.delete(made.id)


def tool(store: str, **more: Any) -> Any:
    return [{"type": "file_search", "vector_store_ids": [store], **more}]


class TestResponses:
    def test_an_answer_cites_the_file_and_tells_of_the_search(self, client: openai.OpenAI, store: str) -> None:
        reply = client.responses.create(
            model="gpt-4.1-mini",
            input="Where does the quokka live?",
            tools=tool(store),
            include=["file_search_call.results"],
        )
        call, message = reply.output
        assert call.type == "file_search_call"
        assert call.status == "completed"
        assert call.queries == ["Where does the quokka live?"]
        assert call.results
        assert call.results[0].filename == "quokka.md"
        assert "Rottnest" in (call.results[0].text or "")
        assert message.type == "message"
        text = message.content[0]
        assert text.type == "output_text"
        assert "Rottnest" in text.text
        citation = text.annotations[0]
        assert citation.type == "file_citation"
        assert citation.filename == "quokka.md"
        assert citation.file_id == call.results[0].file_id

    def test_a_search_that_finds_nothing_is_told_of_too(self, client: openai.OpenAI, store: str) -> None:
        asked: Any = {"model": "gpt-4.1-mini", "input": "zwieback?", "include": ["file_search_call.results"]}
        asked["tools"] = tool(store, filters={"type": "eq", "key": "animal", "value": "emu"})
        reply = client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            last = stream.get_final_response()
        outputs: list[Any] = [reply.output, last.output]
        for call, message in outputs:
            assert call.type == "file_search_call"
            assert (call.status, call.results, call.queries) == ("completed", [], ["zwieback?"])
            assert message.type == "message"

    def test_a_stream_ends_with_the_same_response(self, client: openai.OpenAI, store: str) -> None:
        with client.responses.stream(
            model="gpt-4.1-mini", input="Where does the quokka live?", tools=tool(store)
        ) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
        for kind in ("in_progress", "searching", "completed"):
            assert f"response.file_search_call.{kind}" in kinds
        assert "response.output_text.annotation.added" in kinds
        assert [item.type for item in final.output] == ["file_search_call", "message"]

    def test_a_filter_is_kept(self, client: openai.OpenAI, store: str) -> None:
        wombats = {"type": "eq", "key": "animal", "value": "wombat"}
        reply = client.responses.create(
            model="gpt-4.1-mini",
            input="How long are the burrows of the wombat and the quokka?",
            tools=tool(store, filters=wombats),
            include=["file_search_call.results"],
        )
        call = reply.output[0]
        assert call.type == "file_search_call"
        assert {result.filename for result in call.results or []} == {"wombat.md"}


class TestChat:
    def test_an_answer_cites_and_names_the_file(self, gateway: RunningGateway, store: str) -> None:
        raw = gateway.client().chat.completions.with_raw_response.create(
            model="gpt-4.1-mini", messages=ASKED, tools=tool(store)
        )
        assert raw.headers["x-gateway-path"] == "rag"
        assert raw.headers["x-gateway-collections"] == store
        reply = raw.parse()
        message = reply.choices[0].message
        assert "Rottnest" in (message.content or "")
        assert message.annotations
        told = (reply.model_extra or {})["gateway"]
        assert [one["filename"] for one in told["sources"] if one["cited"]] == ["quokka.md"]

    def test_a_store_of_another_team_does_not_exist(self, gateway: RunningGateway, store: str) -> None:
        with pytest.raises(openai.NotFoundError, match=store):
            gateway.client("other").chat.completions.create(model="gpt-4.1-mini", messages=ASKED, tools=tool(store))

    def test_a_collection_of_the_policy_may_be_named_too(self, client: openai.OpenAI) -> None:
        reply = client.chat.completions.create(
            model="gpt-4.1-mini",
            messages=[{"role": "user", "content": "How long do refunds take?"}],
            tools=tool("help-centre"),
        )
        assert "5 business days" in (reply.choices[0].message.content or "")

    def test_what_a_tool_cannot_say_is_refused(self, client: openai.OpenAI, store: str) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(
                model="gpt-4.1-mini", messages=ASKED, tools=tool(store, filters={"type": "near", "key": "a"})
            )
        assert refused.value.param == "tools.filters.type"

    def test_a_second_tool_with_other_filters_is_refused(self, client: openai.OpenAI, store: str) -> None:
        wombats = tool(store, filters={"type": "eq", "key": "animal", "value": "wombat"})
        with pytest.raises(openai.BadRequestError, match="one set of filters") as refused:
            client.chat.completions.create(model="gpt-4.1-mini", messages=ASKED, tools=tool(store) + wombats)
        assert refused.value.param == "tools[1].filters"


async def sent(gateway: RunningGateway, body: dict[str, Any]) -> dict[str, Any]:
    """What an upstream sees of a call."""
    async with scripted(answer, port=gateway.scripted_port) as server:
        reply = await gateway.asynchronous(
            "POST", "/v1/chat/completions", json.dumps({"model": "scripted-model", **body}).encode(), key=gateway.key()
        )
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = json.loads(server.visits[0].body)
    return found


async def test_the_tool_itself_does_not_go_upstream(gateway: RunningGateway, store: str) -> None:
    """A provider that has never heard of the vector store would refuse the call."""
    function = {"type": "function", "function": {"name": "look"}}
    seen = await sent(gateway, {"messages": ASKED, "tools": [*tool(store), function]})
    assert seen["tools"] == [function]
    assert seen["messages"][-1] == ASKED[-1]
    assert "Rottnest" in seen["messages"][-2]["content"]


async def test_a_call_that_wants_no_tool_used_gets_no_sources(gateway: RunningGateway, store: str) -> None:
    seen = await sent(gateway, {"messages": ASKED, "tools": tool(store), "tool_choice": "none"})
    assert (seen["messages"], "tools" in seen, "tool_choice" in seen) == (ASKED, False, False)


async def test_a_store_that_is_not_ours_is_the_providers_affair(gateway: RunningGateway) -> None:
    body = {"messages": ASKED, "tools": tool("vs_of_a_provider")}
    seen = await sent(gateway, body)
    assert (seen["messages"], seen["tools"]) == (body["messages"], body["tools"])


async def test_a_file_of_ours_goes_upstream_as_data(gateway: RunningGateway) -> None:
    async with gateway.async_client() as client:
        file = await client.files.create(file=("a.pdf", b"%PDF-1.7 ..."), purpose="user_data")
        parts = [{"type": "text", "text": "Read it."}, {"type": "file", "file": {"file_id": file.id}}]
        seen = await sent(gateway, {"messages": [{"role": "user", "content": parts}]})
        assert seen["messages"][0]["content"][1]["file"] == {
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7 ...").decode(),
        }
        await client.files.delete(file.id)
