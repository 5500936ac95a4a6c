"""A place that is asked over HTTP, on a real loopback port: a function answers, a test may put other answers first."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from tests.fakes.scripted_server import Visit, scripted


@dataclass
class Asked:
    """A request as an API sees it."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    def one(self, name: str, otherwise: str = "") -> str:
        return dict(self.query).get(name, otherwise)


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def in_json(body: object, status: int = 200, **headers: str) -> Answer:
    return Answer(json.dumps(body).encode(), status, {"content-type": "application/json", **headers})


class ApiServer:
    """asked: all requests so far. first: answers given before the place is asked. before: told of each request."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.first: list[Answer] = []
        self.before: Callable[[Asked], None] = lambda _asked: None
        self.url = ""

    def paths(self) -> list[str]:
        return [one.path for one in self.asked]

    async def visit(self, visit: Visit) -> None:
        line, *lines = visit.head.decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ")
        parts = urlsplit(target)
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines if one)}
        asked = Asked(method, parts.path, parse_qsl(parts.query, keep_blank_values=True), headers, visit.body)
        self.asked.append(asked)
        self.before(asked)
        answer = self.first.pop(0) if self.first else self.answer(asked)
        head = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        body = b"" if answer.status == 304 else answer.body
        await visit.write(f"HTTP/1.1 {answer.status} X\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body)


@contextlib.asynccontextmanager
async def serving(answer: Callable[[Asked], Answer]) -> AsyncIterator[ApiServer]:
    server = ApiServer(answer)
    async with scripted(server.visit) as socket:
        server.url = f"http://127.0.0.1:{socket.origin.port}"
        yield server
