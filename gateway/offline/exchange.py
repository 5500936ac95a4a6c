"""One request and its reply over ASGI, with the few ways in which a connection can end badly."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import msgspec

from gateway.core.ids import new_id

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 128 * 1024 * 1024
# How long a cut connection may take to be gone; it is local, so this is reached only when all is lost.
CUT_SECONDS = 5.0


class Refusal(Exception):
    """A reply in OpenAI's error shape: status, message, and the error's type, param and code."""

    def __init__(
        self, status: int, message: str, *, kind: str = "", param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {
                "message": message,
                "type": kind or ("server_error" if status >= 500 else "invalid_request_error"),
                "param": param,
                "code": code,
            }
        }


class CallerGone(Exception):
    """The caller closed the connection before the reply was complete."""


class Exchange:
    """What came in, and the means to reply. Header names are lower case; the last of a name counts.

    queries: all values of each name, for those that may stand several times.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        self.queries = parse_qs(scope["query_string"].decode("latin-1"))
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._receive = receive
        self._send = send
        self._gone: asyncio.Future[None] | None = None

    async def body(self) -> bytes:
        """The whole body. Raises Refusal (413) past 128 MiB, and CallerGone when it never came whole."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise CallerGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MAX_BODY_BYTES:
                raise Refusal(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
            if not message.get("more_body", False):
                return b"".join(parts)

    async def reply(self, payload: object, status: int = 200) -> None:
        """A whole JSON reply."""
        await self.reply_bytes(msgspec.json.encode(payload), b"application/json", status)

    async def reply_bytes(self, body: bytes, content_type: bytes, status: int = 200) -> None:
        """A whole reply of any type."""
        await self.start(status, content_type, len(body))
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def start(self, status: int, content_type: bytes, length: int | None = None) -> None:
        """The head. Without a length the body is chunked."""
        headers = [(b"content-type", content_type), (b"x-request-id", new_id("req").encode())]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if status == 429:
            headers.append((b"retry-after", b"1"))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def chunk(self, data: bytes, *, last: bool = False) -> None:
        """A part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})

    async def pause(self, seconds: float | None) -> None:
        """Waits (None: for ever, 0: one turn of the loop). Raises CallerGone as soon as the caller leaves."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._until_gone())
        if seconds == 0:
            await asyncio.sleep(0)
        else:
            await asyncio.wait((self._gone,), timeout=seconds)
        if self._gone.done():
            raise CallerGone

    async def cut(self) -> None:
        """Closes the connection as it is; what was sent before still arrives.

        ASGI has no word for this. The transport is taken from uvicorn's `send`; under another server the
        reply just ends, which that server may answer with a 500.
        """
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is None:
            return
        transport.close()
        try:
            await self.pause(CUT_SECONDS)
        except CallerGone:
            return

    def close(self) -> None:
        """Ends the watch over the caller. Without an await, so that it also runs in a cancelled task."""
        if self._gone is not None:
            self._gone.cancel()

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
