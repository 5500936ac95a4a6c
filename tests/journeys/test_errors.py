"""Everything bad is answered in OpenAI's shape, all four keys, with an id; nothing is a traceback."""

import json
import time
from typing import Any

import httpx2
import openai
import pytest

from tests.fakes.offline_server import OfflineServer
from tests.fakes.running_gateway import A_SECOND, RunningGateway, until

KEYS = {"message", "type", "param", "code"}
GOOD = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Hi"}]}

MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "not json": b"hello",
    "cut off": b'{"model": "gpt-4.1-mini", "messages": [',
    "trailing": b'{"model":"gpt-4.1-mini","messages":[]} x',
    "two values": b'{"model":"a","messages":[]}{"model":"b","messages":[]}',
    "array": b"[]",
    "null": b"null",
    "number": b"7",
    "string": b'"x"',
    "deep arrays": b'{"model":"a","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "invalid utf-8": b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "invalid utf-8 in an unread field": b'{"model":"gpt-4.1-mini","messages":[],"user":"\xc3("}',
    "utf-16": '{"model":"gpt-4.1-mini","messages":[]}'.encode("utf-16"),
    "NaN": b'{"model":"gpt-4.1-mini","messages":[],"temperature":NaN}',
    "Infinity": b'{"model":"gpt-4.1-mini","messages":[],"temperature":-Infinity}',
    "NUL": b"\x00" * 100,
    "single quotes": b"{'model': 'x'}",
    "comment": b'{"model":"x", /* y */ "messages":[]}',
    "no model": b'{"messages":[]}',
    "no messages": b'{"model":"gpt-4.1-mini"}',
    "model is a number": b'{"model":7,"messages":[]}',
    "messages is a string": b'{"model":"gpt-4.1-mini","messages":"hi"}',
    "message is a string": b'{"model":"gpt-4.1-mini","messages":["hi"]}',
    "stream is a word": b'{"model":"gpt-4.1-mini","messages":[],"stream":"yes"}',
    "n is huge": b'{"model":"gpt-4.1-mini","messages":[],"n":' + b"9" * 400 + b"}",
    "n is a fraction": b'{"model":"gpt-4.1-mini","messages":[],"n":1.5}',
    "metadata header's twin too long": json.dumps({**GOOD, "metadata": {"k": "v" * 600}}).encode(),
}


def shape_of(reply: httpx2.Response) -> dict[str, Any]:
    """The error, after everything that all errors have in common was looked at."""
    assert reply.headers["content-type"].startswith("application/json"), reply.headers
    assert reply.headers.get("x-request-id"), reply.headers
    body = reply.json()
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == KEYS
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert "Traceback" not in reply.text
    return error


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_body_is_a_400_that_says_what_is_wrong(gateway: RunningGateway, body: bytes) -> None:
    reply = gateway.post("/v1/chat/completions", body)
    assert reply.status_code == 400, reply.text
    assert shape_of(reply)["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/completions", "/v1/embeddings"])
def test_the_other_endpoints_refuse_the_same_way(gateway: RunningGateway, path: str) -> None:
    for name, body in MALFORMED.items():
        if name not in {"no messages", "message is a string", "messages is a string"}:
            reply = gateway.post(path, body)
            if reply.status_code != 400:
                # What this endpoint does not read is its upstream's to refuse, in the same shape.
                assert reply.status_code < 500, (name, reply.text)
                continue
            shape_of(reply)


def test_a_body_of_the_wrong_type_names_the_field(gateway: RunningGateway) -> None:
    error = shape_of(gateway.post("/v1/chat/completions", MALFORMED["model is a number"]))
    assert error["param"] == "model"


def test_after_all_that_the_gateway_is_as_healthy_as_before(gateway: RunningGateway, upstream: OfflineServer) -> None:
    for body in MALFORMED.values():
        gateway.post("/v1/chat/completions", body)
    assert gateway.post("/v1/chat/completions", GOOD).status_code == 200
    assert gateway.counted("gateway_requests_total", status_class="5xx", error_type="internal_error") == 0


def test_an_unknown_model_is_a_404(gateway: RunningGateway) -> None:
    for model in ("kb/nothing", "tone@v9", "*", ""):
        reply = gateway.post("/v1/chat/completions", {**GOOD, "model": model})
        assert reply.status_code == 404, (model, reply.text)
        error = shape_of(reply)
        assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/", 404),
        ("POST", "/v2/chat/completions", 404),
        ("DELETE", "/v1/chat/completions", 405),
        ("GET", "/v1/embeddings", 405),
        ("PUT", "/v1/responses", 405),
        ("OPTIONS", "/v1/chat/completions", 405),
        ("TRACE", "/v1/files", 405),
        ("POST", "/healthz", 405),
        ("DELETE", "/metrics", 405),
    ],
)
def test_a_route_or_method_that_is_not_there_says_so(
    gateway: RunningGateway, method: str, path: str, status: int
) -> None:
    headers = {"authorization": f"Bearer {gateway.key()}"}
    reply = gateway.http.request(method, path, headers=headers)
    assert reply.status_code == status, reply.text
    shape_of(reply)


def test_a_head_request_is_refused_without_a_body(gateway: RunningGateway) -> None:
    reply = gateway.http.request("HEAD", "/v1/files", headers={"authorization": f"Bearer {gateway.key()}"})
    assert (reply.status_code, reply.content) == (405, b"")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"authorization": ""}, "missing_api_key"),
        ({"authorization": "Bearer"}, "missing_api_key"),
        ({"authorization": "Basic dTpw"}, "missing_api_key"),
        ({"authorization": "Bearer sk-wrong"}, "invalid_api_key"),
        ({"authorization": "Bearer sk-gw-" + "A" * 43}, "invalid_api_key"),
        ({"authorization": "Bearer " + "x" * 8000}, "invalid_api_key"),
        ({"authorization": "Bearer ' OR 1=1 --"}, "invalid_api_key"),
        ({"api-key": "wrong"}, "invalid_api_key"),
    ],
)
def test_no_key_or_a_wrong_one_is_a_401(gateway: RunningGateway, headers: dict[str, str], code: str) -> None:
    for method, path in (("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/v1/files")):
        reply = gateway.http.request(method, path, headers=headers, json=GOOD if method == "POST" else None)
        assert reply.status_code == 401, reply.text
        assert shape_of(reply)["code"] == code
        assert "OR 1=1" not in reply.text


def test_a_key_is_never_shown_back(gateway: RunningGateway) -> None:
    wrong = "sk-gw-" + "SECRETSECRETSECRETSECRETSECRETSECRETSECRETS"
    reply = gateway.http.get("/v1/models", headers={"authorization": f"Bearer {wrong}"})
    assert "SECRETSECRET" not in reply.text


def test_a_key_in_azures_header_works(gateway: RunningGateway) -> None:
    reply = gateway.http.post("/v1/chat/completions", json=GOOD, headers={"api-key": gateway.key()})
    assert reply.status_code == 200


def test_a_revoked_key_is_refused_within_a_second(gateway: RunningGateway) -> None:
    key = gateway.key("leavers", fresh=True)
    client = gateway.client(key=key)
    client.models.list()
    [info] = gateway.admin("GET", "/admin/keys?team=leavers")
    gateway.admin("DELETE", f"/admin/keys/{info['id']}")

    def is_refused() -> bool:
        try:
            client.models.list()
        except openai.AuthenticationError as refused:
            return refused.code == "invalid_api_key"
        return False

    until(is_refused, A_SECOND, what="the refusal")


def test_an_expired_key_is_refused(gateway: RunningGateway) -> None:
    ends = time.time() + 1.2
    client = gateway.client(key=gateway.key("temps", fresh=True, expires_at=ends))
    client.models.list()
    time.sleep(max(0.0, ends - time.time()))
    with pytest.raises(openai.AuthenticationError, match="expired"):
        client.models.list()


def test_a_rotated_key_hands_over(gateway: RunningGateway) -> None:
    old = gateway.key("rotators", fresh=True)
    [info] = gateway.admin("GET", "/admin/keys?team=rotators")
    new = gateway.admin("POST", f"/admin/keys/{info['id']}/rotate?overlap_seconds=60")["key"]
    until(
        lambda: gateway.http.get("/v1/models", headers={"authorization": f"Bearer {new}"}).status_code == 200, A_SECOND
    )
    assert gateway.http.get("/v1/models", headers={"authorization": f"Bearer {old}"}).status_code == 200


def test_a_body_past_the_limit_is_a_413(gateway: RunningGateway) -> None:
    reply = gateway.post("/v1/chat/completions", {**GOOD, "user": "x" * 3_000_000})
    assert reply.status_code == 413
    assert shape_of(reply)["code"] == "request_too_large"


def test_a_body_past_the_limit_that_does_not_say_so_is_a_413_too(gateway: RunningGateway) -> None:
    """Chunked bodies have no length to look at."""

    def parts() -> Any:
        for _ in range(30):
            yield b"x" * 100_000

    headers = {"authorization": f"Bearer {gateway.key()}", "content-type": "application/json"}
    reply = gateway.http.post("/v1/chat/completions", content=parts(), headers=headers)
    assert reply.status_code == 413
    shape_of(reply)


def test_metadata_past_its_limits_is_a_400(gateway: RunningGateway) -> None:
    for header in ("{not json", "novalue", ",".join(f"k{n}=v" for n in range(17)), '{"a":{"b":1}}'):
        reply = gateway.http.post(
            "/v1/chat/completions",
            json=GOOD,
            headers={"authorization": f"Bearer {gateway.key()}", "x-gateway-metadata": header},
        )
        assert reply.status_code == 400, header
        shape_of(reply)


def test_a_path_that_is_none_is_a_400(gateway: RunningGateway) -> None:
    reply = gateway.post("/v1/chat/completions", GOOD, x_gateway_path="sideways")
    assert reply.status_code == 400
    assert shape_of(reply)["param"] == "x-gateway-path"


def test_a_hostile_model_name_stays_text(gateway: RunningGateway) -> None:
    """Line breaks, escapes and NUL in a name reach neither a header nor a log line of their own."""
    for model in ("a\r\nx-evil: 1", "a\u2028b", "\x1b[31mred", "a\x00b", "ünïcode", "../../etc/passwd", "a" * 5000):
        reply = gateway.post("/v1/chat/completions", {**GOOD, "model": model})
        assert reply.status_code < 500, (model, reply.text)
        assert "x-evil" not in reply.headers
    assert all(json.loads(line) for line in gateway.log().splitlines() if line.startswith("{"))
