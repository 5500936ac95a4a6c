"""The caller's credential stays here; the operator's account stays there."""

import json

from tests.fakes.running_gateway import UPSTREAM_KEY, RunningGateway, until
from tests.fakes.scripted_server import Visit, scripted

ASKED = json.dumps({"model": "scripted-model", "messages": [{"role": "user", "content": "Hi"}]}).encode()
ANSWER = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"scripted-model","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
)
SENT_DOWN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nOpenAI-Organization: org-secret\r\n"
    b"OpenAI-Project: proj-secret\r\nSet-Cookie: __cf_bm=abc\r\nServer: cloudflare\r\nCF-Ray: 1\r\nVia: 1.1 x\r\n"
    b"Alt-Svc: h3\r\nx-request-id: upstreams-own\r\nX-RateLimit-Remaining-Tokens: 99\r\nopenai-processing-ms: 7\r\n"
    b"Strict-Transport-Security: max-age=1\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
)
FROM_CALLER = {
    "content-type": "application/json",
    "cookie": "session=caller-cookie",
    "openai-organization": "org-of-caller",
    "openai-project": "proj-of-caller",
    "api-key": "also-a-key",
    "x-api-key": "and-another",
    "proxy-authorization": "Basic cHJveHk=",
    "x-forwarded-for": "10.0.0.1",
    "forwarded": "for=10.0.0.1",
    "x-stainless-lang": "python",
    "x-gateway-metadata": "project=secret-project",
    "openai-beta": "assistants=v2",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
ALLOWED_UP = {
    "host", "content-length", "content-type", "accept", "openai-beta", "traceparent", "authorization",
    "accept-encoding", "user-agent", "x-client-request-id",
}  # fmt: skip
ALLOWED_DOWN = {
    "content-type", "content-length", "x-request-id", "openai-processing-ms", "x-ratelimit-remaining-tokens",
    "x-gateway-decision", "x-gateway-path", "x-gateway-rule", "x-gateway-model",
}  # fmt: skip


async def answer(visit: Visit) -> None:
    await visit.write(SENT_DOWN + ANSWER)


def headers_of(visit: Visit) -> dict[str, str]:
    lines = visit.head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}


async def test_a_callers_credential_and_cookies_never_go_up(gateway: RunningGateway) -> None:
    key = gateway.key()
    async with scripted(answer, port=gateway.scripted_port) as server:
        for path in ("/v1/chat/completions", "/v1/anything/else"):
            reply = await gateway.asynchronous("POST", path, ASKED, key=key, headers=FROM_CALLER)
            assert reply.status_code == 200
        visits = list(server.visits)
    assert len(visits) == 2
    for visit in visits:
        sent = headers_of(visit)
        assert sent["authorization"] == f"Bearer {UPSTREAM_KEY}"
        assert sent.keys() <= ALLOWED_UP, sent.keys() - ALLOWED_UP
        assert sent["openai-beta"] == "assistants=v2"
        for secret in (key, "caller-cookie", "org-of-caller", "also-a-key", "and-another", "cHJveHk", "10.0.0.1"):
            assert secret.encode() not in visit.head + visit.body


async def test_an_upstreams_account_never_comes_down(gateway: RunningGateway) -> None:
    key = gateway.key()
    async with scripted(answer, port=gateway.scripted_port):
        for path in ("/v1/chat/completions", "/v1/anything/else"):
            reply = await gateway.asynchronous("POST", path, ASKED, key=key, headers=FROM_CALLER)
            assert reply.headers.keys() <= ALLOWED_DOWN, set(reply.headers.keys()) - ALLOWED_DOWN
            assert reply.headers["x-request-id"] != "upstreams-own"
            assert reply.headers["x-ratelimit-remaining-tokens"] == "99"
            assert UPSTREAM_KEY not in reply.text


async def test_an_upstream_that_refuses_the_operators_key_is_a_502(gateway: RunningGateway) -> None:
    """A 401 would send the caller looking at its own key, which is right."""

    async def refuse(visit: Visit) -> None:
        body = b'{"error":{"message":"Incorrect API key provided: sk-upstr***","type":"x","param":null,"code":"y"}}'
        await visit.write(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )

    async with scripted(refuse, port=gateway.scripted_port):
        headers = {"content-type": "application/json"}
        reply = await gateway.asynchronous("POST", "/v1/chat/completions", ASKED, key=gateway.key(), headers=headers)
    assert reply.status_code == 502
    assert "sk-upstr" not in reply.text
    assert reply.json()["error"]["code"] == "upstream_failed"


async def test_an_attempt_can_be_found_in_the_providers_logs(gateway: RunningGateway) -> None:
    key = gateway.key("traced")
    async with scripted(answer, port=gateway.scripted_port) as server:
        headers = {"content-type": "application/json"}
        await gateway.asynchronous("POST", "/v1/chat/completions", ASKED, key=key, headers=headers)
        [visit] = server.visits
    [row] = gateway.rows_of("traced", 1)
    assert headers_of(visit)["x-client-request-id"] == row["id"]


def test_no_secret_stands_in_the_log_or_the_books(gateway: RunningGateway) -> None:
    """After all stories so far: no key of a caller or of the operator in a file, the pepper's own aside."""
    key = gateway.key("canaries")
    gateway.client("canaries").chat.completions.create(
        model="gpt-4.1-mini", messages=[{"role": "user", "content": "CANARY-IN-A-PROMPT"}]
    )
    until(lambda: gateway.rows("team = 'canaries'"))
    found = {path: path.read_bytes() for path in gateway.data.rglob("*") if path.is_file()}
    found[gateway.folder / "gateway.log"] = gateway.log().encode()
    for path, content in found.items():
        for secret in (key, UPSTREAM_KEY, gateway.admin_key, "CANARY-IN-A-PROMPT"):
            assert secret.encode() not in content, (path, secret[:12])
