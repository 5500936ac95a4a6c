"""How many of the product's files and functions one plain chat call runs through."""

import asyncio
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import uvicorn

import gateway
from gateway.app import Gateway
from gateway.core.settings import Settings, database_url
from tests.fakes.scripted_server import Visit, scripted

PACKAGE = str(Path(gateway.__file__).parent)
# What it is today, so that it cannot grow unseen; the architecture's aims are 12 files and 60 functions.
# A bare Litestar handler runs 53 functions of Litestar's own.
MOST_FILES = 41
MOST_FUNCTIONS = 158
WARM_UP = 5
# On a busy machine hardly one call passes in which nothing of the background runs.
MEASURED = 1_000

# Each rule that is passed over adds the functions of its conditions: those are the policy's, not the line's.
POLICY = {
    "routing.yaml": "rules:\n  - name: everything\n    use: {path: direct}\n",
    "models.yaml": "upstreams:\n  main: {base_url: env:UPSTREAM_URL, api_key: env:UPSTREAM_KEY}\n"
    'models:\n  "*": {upstream: main}\n',
}
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4.1-mini","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)
ASKED = b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"Hello"}]}'


class Line:
    """What ran: one entry per invocation, however often a coroutine was resumed."""

    def __init__(self) -> None:
        self.calls: list[CodeType] = []
        self._frames: dict[int, FrameType] = {}

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call" or id(frame) in self._frames or not frame.f_code.co_filename.startswith(PACKAGE):
            return
        # Held, so that no later frame can have its id.
        self._frames[id(frame)] = frame
        self.calls.append(frame.f_code)

    @property
    def files(self) -> list[str]:
        """Files in the order in which they were first entered."""
        return list(dict.fromkeys(_file(code) for code in self.calls))

    def told(self) -> str:
        """Both numbers, and everything that ran."""
        counted = Counter(f"{_file(code)}:{code.co_qualname}" for code in self.calls)
        lines = [f"  {count} x {name}" for name, count in counted.items()]
        return f"{len(self.files)} files, {len(self.calls)} functions:\n" + "\n".join(lines)


def _file(code: CodeType) -> str:
    return str(Path(code.co_filename).relative_to(PACKAGE))


async def says_hello(visit: Visit) -> None:
    await visit.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
    )


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> bytes:
    """One call on a connection that is kept open; its body."""
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(ASKED), ASKED)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(length)


async def measured(tmp_path: Path, upstream_url: str) -> Line:
    """The first call that is short enough, else the shortest: what ran in the background is in the longer ones."""
    (tmp_path / "policies").mkdir()
    for name, text in POLICY.items():
        (tmp_path / "policies" / name).write_text(text)
    data = tmp_path / "data"
    data.mkdir()
    settings = Settings(policies=tmp_path / "policies", data=data, database_url=database_url(None, data))
    built = Gateway(settings, {"UPSTREAM_URL": upstream_url, "UPSTREAM_KEY": "k"})
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
                return await _shortest(listener.getsockname()[1], key)
        finally:
            server.should_exit = True
            await serving


async def _shortest(port: int, key: str) -> Line:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(WARM_UP):
        assert b"Hello." in await ask(reader, writer, key)
    lines = []
    for _ in range(MEASURED):
        line = Line()
        sys.setprofile(line)
        try:
            await ask(reader, writer, key)
        finally:
            sys.setprofile(None)
        lines.append(line)
        if is_short(line):
            break
    writer.close()
    return min(lines, key=lambda line: len(line.calls))


def is_short(line: Line) -> bool:
    return len(line.files) <= MOST_FILES and len(line.calls) <= MOST_FUNCTIONS


async def test_a_plain_call_runs_through_few_files_and_functions(tmp_path: Path) -> None:
    """Who reads the way of one call has this much to read."""
    async with scripted(says_hello) as upstream:
        line = await measured(tmp_path, f"http://127.0.0.1:{upstream.origin.port}/v1")
    assert len(line.files) <= MOST_FILES, line.told()
    assert len(line.calls) <= MOST_FUNCTIONS, line.told()
