"""A gateway whose every call has two targets: `faulty`, which a test has fail, and `well`, which answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.fakes.running_gateway import RunningGateway, free_port, running_gateway
from tests.fakes.scripted_server import Script, ScriptedServer, Visit, scripted

OK = b"HTTP/1.1 200 OK\r\n"
SSE = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"well","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Well."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
DONE = b"data: [DONE]\n\n"
# A model is a target with a breaker of its own.
MODELS_EACH = 60
# What one attempt may take in these tests, so that a second is soon tried.
TIMEOUTS = "{connect: 1, first_byte: 0.4, first_token: 0.6, between: 2, total: 6}"
ROUTING = """rules:
  - name: alone
    when: {metadata: {task: alone}}
    use: {path: direct}
  - name: hurried
    when: {metadata: {task: hurried}}
    use:
      path: direct
      fallback: [{path: direct, model: well}]
      timeouts: {first_byte: 5, first_token: 5}
      deadline: 0.7
  - name: two-targets
    use: {path: direct, fallback: [{path: direct, model: well}]}
"""
MODELS = f"""upstreams:
  faulty: {{base_url: "env:FAULTY_URL", timeouts: {TIMEOUTS}}}
  tired: {{base_url: "env:FAULTY_URL", timeouts: {TIMEOUTS}}}
  draining: {{base_url: "env:FAULTY_URL", on_disconnect: drain, timeouts: {TIMEOUTS}}}
  well: {{base_url: "env:WELL_URL", timeouts: {TIMEOUTS}}}
models:
  well: {{upstream: well}}
  drained: {{upstream: draining}}
"""


def event(text: str) -> bytes:
    """One token of a stream."""
    return (
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"well","choices":[{"index":0,'
        b'"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % text.encode()
    )


def chunked(data: bytes) -> bytes:
    """Bytes as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    """A whole JSON reply."""
    head = (b"HTTP/1.1 " + status, b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


async def answers(visit: Visit) -> None:
    """The target that is well: whole, or as a stream."""
    if b'"stream":true' in visit.body.replace(b" ", b""):
        await visit.write(SSE + chunked(event("Well.")) + chunked(USAGE) + chunked(DONE) + b"0\r\n\r\n")
    else:
        await visit.write(whole(ANSWER))


async def says_500(visit: Visit) -> None:
    await visit.write(whole(b'{"error":{"message":"no"}}', b"500 Internal Server Error"))


async def hangs(visit: Visit) -> None:
    await visit.gone()


async def hangs_after_its_head(visit: Visit) -> None:
    await visit.write(SSE)
    await visit.gone()


def drips(at_once: bytes, dripped: bytes, seconds: float = 1.0) -> Script:
    """Says something at once, and then one byte a second."""

    async def script(visit: Visit) -> None:
        if at_once:
            await visit.write(at_once)
        for byte in dripped:
            await visit.write(bytes((byte,)))
            await asyncio.sleep(seconds)

    return script


@contextmanager
def two_targets(folder: Path) -> Iterator[RunningGateway]:
    """The gateway, ready; `faulty` and `well` are served by a test, see `targets`."""
    environment = {name: f"http://127.0.0.1:{free_port()}/v1" for name in ("FAULTY_URL", "WELL_URL")}
    with running_gateway(folder, "http://127.0.0.1:9/v1", environment=environment, is_started=False) as gateway:
        for path in gateway.policies.iterdir():
            if path.is_file():
                path.unlink()
        (gateway.policies / "routing.yaml").write_text(ROUTING)
        pairs = [(upstream, n) for upstream in ("faulty", "tired") for n in range(MODELS_EACH)]
        names = "".join(f"  {upstream}-{n}: {{upstream: {upstream}}}\n" for upstream, n in pairs)
        (gateway.policies / "models.yaml").write_text(MODELS + names)
        gateway.start()
        yield gateway


@asynccontextmanager
async def targets(gateway: RunningGateway, faulty: Script) -> AsyncIterator[tuple[ScriptedServer, ScriptedServer]]:
    """Both servers: the faulty one plays its script."""
    ports = [int(gateway.environment[name].split(":")[2].split("/")[0]) for name in ("FAULTY_URL", "WELL_URL")]
    async with scripted(faulty, port=ports[0]) as first, scripted(answers, port=ports[1]) as second:
        yield first, second
