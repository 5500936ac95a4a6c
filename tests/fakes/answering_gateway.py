"""A gateway over two documents and a provider that says what a test tells it to, all on one loop."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import uvicorn
from sqlalchemy import text

from gateway.app import Gateway
from gateway.core.settings import Settings, database_url
from tests.fakes.running_gateway import ADMIN_KEY
from tests.fakes.scripted_server import Visit, scripted

DOCUMENTS = {
    "refunds.md": "# Refunds\n\nA refund to a credit card takes five business days. Zephyrine parcels are refunded "
    "after 12 days.\n",
    "opening.md": "# Opening hours\n\nThe quokka desk opens at 9 and closes at 17 on weekdays.\n",
}
MODELS = """
upstreams:
  main: {base_url: env:UPSTREAM_URL, api_key: env:UPSTREAM_KEY, attempts: 1}
models:
  gpt-4.1-mini: {upstream: main}
  gpt-4.1: {upstream: main}
  spare: {upstream: main}
"""
KNOWLEDGE = """
collections:
  help: {sources: [{kind: folder, path: help}], teams: ["*"], model: gpt-4.1-mini}
  quiet: {sources: [{kind: folder, path: help}], teams: ["*"], model: gpt-4.1-mini, record_gaps: false}
"""
PRICES = (
    "prices:\n  - {models: [spare, gpt-4.1, gpt-4.1-mini], input: 1, output: 2, source: tests, read_on: 2026-11-24}\n"
)
FOUND = "How long does a refund to a credit card take?"
LOST = "xylophone zwieback?"


class AnsweringGateway:
    """replies: what the provider says next: a text, the pieces of a stream (one that does not end, if None is the last
    piece), or a status. asked: the bodies that it got.
    """

    def __init__(self, gateway: Gateway, url: str, key: str, replies: list[Any], asked: list[dict[str, Any]]) -> None:
        self.gateway = gateway
        self.replies = replies
        self.asked = asked
        self.url = url
        self.key = key
        self.client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)

    async def chat(self, question: str, *replies: Any, **more: Any) -> tuple[dict[str, Any], httpx2.Headers]:
        """One chat call, as JSON, after which the provider has said these replies."""
        status, body, headers = await self.post(question, *replies, **more)
        assert status == 200, body
        return body, headers

    async def post(self, question: str, *replies: Any, **more: Any) -> tuple[int, dict[str, Any], httpx2.Headers]:
        self.replies[:] = replies
        asked = {"model": "auto", "messages": [{"role": "user", "content": question}], **more}
        async with httpx2.AsyncClient(trust_env=False) as client:
            reply = await client.post(
                f"{self.url}/v1/chat/completions", json=asked, headers={"authorization": f"Bearer {self.key}"}
            )
        return reply.status_code, reply.json(), reply.headers

    async def rows(self, query: str) -> list[dict[str, Any]]:
        """Rows of the books, when all that was closed is in them."""
        await self.gateway.shipper.ship_all()
        async with self.gateway.database.session() as session:
            return [dict(row) for row in (await session.execute(text(query))).mappings()]

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the gateway's registry, 0 when there is none."""
        return self.gateway.registry.get_sample_value(name, labels) or 0.0

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns when that holds, within five seconds."""
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.01)

    async def admin(self, path: str) -> dict[str, Any]:
        """What /admin says."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            reply = await client.get(self.url + path, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert reply.status_code == 200, reply.text
        told: dict[str, Any] = reply.json()
        return told

    def write(self, name: str, text_: str) -> None:
        (self.gateway.settings.policies / "help" / name).write_text(text_)


@contextlib.asynccontextmanager
async def answering_gateway(folder: Path, use: str) -> AsyncIterator[AnsweringGateway]:
    """Serves one rule with this `use`, until the block is left."""
    policies = folder / "policies"
    (policies / "help").mkdir(parents=True)
    for name, words in DOCUMENTS.items():
        (policies / "help" / name).write_text(words)
    routing = f"rules:\n  - name: the-rule\n    use: {use}\n"
    for name, words in (("routing", routing), ("models", MODELS), ("knowledge", KNOWLEDGE), ("prices", PRICES)):
        (policies / f"{name}.yaml").write_text(words)
    replies: list[Any] = []
    asked: list[dict[str, Any]] = []

    async def provider(visit: Visit) -> None:
        asked.append(json.loads(visit.body))
        await _say(visit, replies.pop(0) if replies else 500)

    data = folder / "data"
    data.mkdir()
    async with scripted(provider) as upstream:
        settings = Settings(policies=policies, data=data, database_url=database_url(None, data), admin_key=ADMIN_KEY)
        url = f"http://127.0.0.1:{upstream.origin.port}/v1"
        built = Gateway(settings, {"UPSTREAM_URL": url, "UPSTREAM_KEY": "k"}, access_log=False)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(built.application(), http="httptools", log_config=None, access_log=False)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                async with asyncio.timeout(20):
                    while not server.started:
                        await asyncio.sleep(0.01)
                await built.identity.create_team("support", "", None, actor="admin")
                key, _ = await built.identity.create_key("support", "k", actor="admin")
                _, keys, _ = await built.identity.load()
                built.keys.replace(keys, time.time())
                at = f"http://127.0.0.1:{listener.getsockname()[1]}"
                yield AnsweringGateway(built, at, key, replies, asked)
            finally:
                server.should_exit = True
                await serving


async def _say(visit: Visit, reply: Any) -> None:
    if isinstance(reply, int):
        await visit.write(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % reply)
        return
    if isinstance(reply, str):
        message = {"role": "assistant", "content": reply}
        usage = {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        written = json.dumps(body).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(written)
        await visit.write(head + written)
        return
    await visit.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    about: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for piece in reply:
        if piece is None:
            visit.close()
            return
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
        await visit.write(_chunk(b"data: " + json.dumps({**about, "choices": [choice]}).encode() + b"\n\n"))
        await asyncio.sleep(0.02)
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    await visit.write(_chunk(b"data: " + json.dumps({**about, "choices": [end]}).encode() + b"\n\n"))
    await visit.write(_chunk(b"data: [DONE]\n\n") + _chunk(b""))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
