"""The other endpoints that apps use, through the official SDK."""

import base64
import struct

import openai
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway

MODEL = "gpt-4.1-mini"


def test_a_response_has_its_text_and_usage(gateway: RunningGateway) -> None:
    raw = gateway.client().responses.with_raw_response.create(model=MODEL, input="Count to 4")
    reply = raw.parse()
    assert reply.output_text == "[offline rehearsal] 1 2 3 4"
    assert reply.usage is not None
    assert reply.usage.output_tokens == 8
    assert raw.headers["x-gateway-path"] == "direct"


def test_a_streamed_response_comes_in_order_to_its_end(gateway: RunningGateway) -> None:
    with gateway.client().responses.stream(model=MODEL, input="Count to 40") as stream:
        numbers = [event.sequence_number for event in stream]
        final = stream.get_final_response()
    assert numbers == sorted(set(numbers))
    assert final.output_text.endswith("38 39 40")
    assert final.usage is not None
    assert final.usage.output_tokens == 44


def test_a_completion_is_answered_whole_and_streamed(gateway: RunningGateway) -> None:
    client = gateway.client()
    whole = client.completions.create(model=MODEL, prompt="Count to 3", max_tokens=50)
    parts = client.completions.create(model=MODEL, prompt="Count to 3", max_tokens=50, stream=True)
    chunks = list(parts)
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert not any("usage" in chunk.model_fields_set for chunk in chunks)


def test_embeddings_come_as_base64_by_default_and_as_numbers_when_asked(gateway: RunningGateway) -> None:
    client = gateway.client()
    decoded = client.embeddings.create(model="text-embedding-3-small", input=["one", "two words"])
    floats = client.embeddings.create(
        model="text-embedding-3-small", input=["one", "two words"], encoding_format="float"
    )
    assert [len(item.embedding) for item in decoded.data] == [1536, 1536]
    assert decoded.data[1].embedding == pytest.approx(floats.data[1].embedding)
    assert decoded.usage.prompt_tokens == 3
    raw = gateway.post(
        "/v1/embeddings", {"model": "text-embedding-3-small", "input": "one", "encoding_format": "base64"}
    ).json()
    told = base64.b64decode(raw["data"][0]["embedding"])
    assert struct.unpack("<1536f", told) == pytest.approx(floats.data[0].embedding)


def test_the_list_of_models_holds_ours_and_the_upstreams(gateway: RunningGateway) -> None:
    listed = {model.id: model for model in gateway.client().models.list()}
    assert {"auto", "kb/help-centre", "tone", "old-tone", MODEL, "house-model"} <= listed.keys()
    assert {"gpt-4o", "omni-moderation-latest"} <= listed.keys()
    assert "*" not in listed
    assert listed["tone"].to_dict()["shutdown_date"] == "2098-12-31"
    assert listed["old-tone"].to_dict()["shutdown_date"] == "2020-01-01"
    assert all(model.object == "model" for model in listed.values())


@pytest.mark.parametrize("name", ["auto", "kb/help-centre", "tone", "gpt-4o"])
def test_one_model_is_retrieved_by_its_name(gateway: RunningGateway, name: str) -> None:
    assert gateway.client().models.retrieve(name).id == name


def test_a_model_that_is_not_listed_cannot_be_retrieved(gateway: RunningGateway) -> None:
    client = gateway.client()
    for name in ("nobody-has-this", "kb/board-minutes"):
        with pytest.raises(openai.NotFoundError) as refused:
            client.models.retrieve(name)
        assert refused.value.code == "model_not_found"


def test_a_path_that_only_begins_like_models_is_no_model(gateway: RunningGateway) -> None:
    """/v1/modelsauto is not /v1/models/auto."""
    headers = {"authorization": f"Bearer {gateway.key()}"}
    reply = gateway.http.get("/v1/modelsauto", headers=headers)
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "unknown_url"


def test_stored_completions_are_the_upstreams_to_list(gateway: RunningGateway, upstream: OfflineServer) -> None:
    """GET on the same path is another route; the upstream says what it makes of it."""
    reply = gateway.http.get("/v1/chat/completions", headers={"authorization": f"Bearer {gateway.key()}"})
    assert reply.headers["x-gateway-path"] == "passthrough"
    assert reply.status_code == 404
