"""Routes that the gateway does not understand go through byte for byte, and are booked where they carry usage."""

import hashlib
import os

import openai
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import RunningGateway
from tests.fakes.scripted_server import Visit, scripted

LINE = b'{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}\n'


def test_files_are_uploaded_and_read_back_byte_for_byte(gateway: RunningGateway) -> None:
    client = gateway.client()
    content = LINE * 50
    made = client.files.create(file=("training.jsonl", content), purpose="fine-tune")
    assert made.bytes == len(content)
    assert client.files.content(made.id).read() == content
    assert made.id in [file.id for file in client.files.list()]
    assert client.files.delete(made.id).deleted


def test_binary_content_comes_back_as_it_went(gateway: RunningGateway) -> None:
    client = gateway.client()
    content = os.urandom(300_000)
    made = client.files.create(file=("blob.bin", content), purpose="user_data")
    read = client.files.content(made.id).read()
    assert hashlib.sha256(read).digest() == hashlib.sha256(content).digest()


def test_moderations_pass(gateway: RunningGateway) -> None:
    raw = gateway.client().moderations.with_raw_response.create(input="I will kill the process")
    assert raw.parse().results[0].flagged
    assert raw.headers["x-gateway-path"] == "passthrough"


def test_a_fine_tuning_job_is_started_through_the_gateway(gateway: RunningGateway, upstream: OfflineServer) -> None:
    client = gateway.client()
    file = client.files.create(file=("training.jsonl", LINE * 20), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="gpt-4o-mini-2024-07-18", training_file=file.id)
    assert client.fine_tuning.jobs.retrieve(job.id).id == job.id
    assert client.fine_tuning.jobs.list_events(job.id).data


async def test_an_unknown_route_goes_up_as_it_came_and_its_usage_is_booked(gateway: RunningGateway) -> None:
    answer = b'{ "ok" : true, "usage":{"input_tokens": 7,"output_tokens":3 , "total_tokens":10}, "odd": 1.50 }'
    body = b'{"model" : "scripted-model",  "odd": 1.50, "\\u0041": null}'

    async def script(visit: Visit) -> None:
        head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
        await visit.write(head + answer)

    key = gateway.key("explorers")
    async with scripted(script, port=gateway.scripted_port) as server:
        reply = await gateway.asynchronous(
            "POST", "/v1/brand/new?x=%2F1&x=2", body, key=key, headers={"content-type": "application/json"}
        )
        assert (reply.status_code, reply.content) == (201, answer)
        [visit] = server.visits
    assert visit.body == body
    assert visit.head.startswith(b"POST /v1/brand/new?x=%2F1&x=2 HTTP/1.1\r\n")
    [row] = gateway.rows_of("explorers", 1)
    assert (row["path"], row["endpoint"], row["model"]) == ("passthrough", "passthrough", "scripted-model")
    assert (row["input_tokens"], row["output_tokens"], row["usage_source"]) == (7, 3, "provider")


@pytest.mark.parametrize("path", ["/v1/", "/v1/files/../models", "/v1//files", "/v1/./files", "/v1/files/%2e%2e/x"])
def test_a_path_that_could_mean_two_things_goes_nowhere(gateway: RunningGateway, path: str) -> None:
    """httpx2 tidies paths up, so these bytes are written by hand."""
    reply = gateway.raw(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {gateway.key()}\r\n\r\n".encode()
    )
    assert reply.startswith(b"HTTP/1.1 404 "), reply[:200]
    assert b'"code":"unknown_url"' in reply


def test_a_route_that_the_upstream_does_not_have_is_its_404(gateway: RunningGateway) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        gateway.client().get("/no/such/route", cast_to=object)
    assert refused.value.code == "unknown_url"
