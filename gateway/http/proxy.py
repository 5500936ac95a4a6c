"""The /v1 mount: one ASGI request in, one call through the pipeline, one reply out."""

import asyncio
from typing import Any
from urllib.parse import unquote

from litestar.types import HTTPScope, Receive, Send

from gateway.core.call import Headers, Inbound
from gateway.core.clock import Clock
from gateway.core.errors import BodyTooLarge, CallerLeft, GatewayError, RateLimited
from gateway.core.ids import new_id
from gateway.http.local.surface import PREFIXES, Local
from gateway.http.log import CallLog
from gateway.http.models import Models
from gateway.pipeline import Pipeline
from gateway.upstream.port import Lease
from gateway.wire.errors import error_body, error_event

# Most replies begin within this time of a test's upstream and none of a model's: watching for the caller's
# leave costs a task, so it begins only then.
WATCH_AFTER_SECONDS = 0.05
JSON = (b"content-type", b"application/json")
MODELS = "/v1/models"
FILES = ("/v1/files", "/v1/uploads/")
ID_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class Proxy:
    """Serves the mount. `in_flight` counts the calls being served. most: bytes of a body, and of one with a file."""

    def __init__(
        self, pipeline: Pipeline, models: Models, local: Local, log: CallLog, clock: Clock, most: tuple[int, int]
    ) -> None:
        self._pipeline = pipeline
        self._models = models
        self._local = local
        self._log = log
        self._clock = clock
        # Of a body, and of one that brings a file.
        self._max_body_bytes, self._max_file_bytes = most
        self.in_flight = 0

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """One request. Never raises for what a caller did; a fault of ours is a 500 in OpenAI's shape."""
        started = self._clock.monotonic()
        # Litestar has cut its mount off scope["path"]; what came on the wire decides, here and upstream.
        path = scope["raw_path"].decode("latin-1")
        path = unquote(path) if "%" in path else path
        headers: Headers = tuple(scope["headers"])
        request_id = _request_id(headers)
        caller = HttpCaller(receive, send, request_id)
        self.in_flight += 1
        status = 200
        try:
            inbound = Inbound(
                method=scope["method"],
                path=path,
                raw_path=scope["raw_path"],
                query=scope["query_string"],
                headers=headers,
                body=await _read_body(
                    receive, headers, self._max_file_bytes if path.startswith(FILES) else self._max_body_bytes
                ),
                request_id=request_id,
                received_monotonic=self._clock.monotonic(),
                call_id=new_id("call"),
            )
            caller.watch()
            if inbound.method == "GET" and (path == MODELS or path.startswith(MODELS + "/")):
                await self._models.serve(inbound, caller)
            elif not path.startswith(PREFIXES) or not await self._local.serve(inbound, caller):
                await self._pipeline.serve(inbound, caller, caller.lease)
            status = caller.status
        except GatewayError as fault:
            status = fault.status
            await caller.fail(fault)
        except asyncio.CancelledError:
            status = 499
            raise
        except Exception as fault:  # noqa: BLE001  # the last line of defence: no traceback reaches a caller
            status = 500
            self._log.fault(request_id, fault)
            await caller.fail(GatewayError("The gateway failed; its log has the reason under this request's id."))
        finally:
            caller.unwatch()
            self.in_flight -= 1
            self._log.call(scope["method"], path, status, request_id, self._clock.monotonic() - started)


class HttpCaller:
    """The caller's end of one HTTP exchange."""

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self.lease = Lease()
        self.left = False
        self.status = 0
        self._receive = receive
        self._send: Any = send
        self._request_id = request_id
        self._patience = 0.0
        self._events = False
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Begins, soon, to look whether the caller leaves."""
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_SECONDS, self._begin)

    def unwatch(self) -> None:
        """The exchange is over."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def patience(self, seconds: float) -> None:
        """How long the upstream may go on after the caller has left."""
        self._patience = seconds

    def _begin(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if self._patience and not self._ended:
            self._timer = asyncio.get_running_loop().call_later(self._patience, self.lease.abort)
        else:
            self.lease.abort()

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Gives a whole reply."""
        self.status = status
        self._ended = True
        length = (b"content-length", b"%d" % len(body))
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await self._send({"type": "http.response.body", "body": body})

    async def start(self, status: int, headers: Headers) -> None:
        """Gives the head of a reply whose body follows in parts."""
        self.status = status
        self._events = any(name == b"content-type" and b"event-stream" in value for name, value in headers)
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, data: bytes) -> None:
        """Gives a part."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Ends the body."""
        self._ended = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, fault: GatewayError) -> None:
        """Tells the caller what went wrong: as a reply, or, in a stream that has begun, as its last event."""
        if isinstance(fault, CallerLeft) or self._ended:
            return
        if self.status and self._events:
            await self.write(error_event(fault))
            await self.end()
        elif not self.status:
            await self.whole(fault.status, _fault_headers(fault, self._request_id), error_body(fault))
        # A body of another kind that has begun cannot say so: leaving it unfinished closes the connection.


def _fault_headers(fault: GatewayError, request_id: str) -> Headers:
    headers = [JSON, (b"x-request-id", request_id.encode())]
    if fault.decision_id is not None:
        headers.append((b"x-gateway-decision", fault.decision_id.encode()))
    if fault.retry_after_seconds is not None:
        headers.append((b"retry-after", str(fault.retry_after_seconds).encode()))
    if isinstance(fault, RateLimited):
        headers += fault.headers
    if fault.should_retry is not None:
        # The official SDKs obey this above their own rule of retrying every 429.
        headers.append((b"x-should-retry", b"true" if fault.should_retry else b"false"))
    return tuple(headers)


def _request_id(headers: Headers) -> str:
    """The caller's own id when it is a plain word, else a fresh one."""
    for name, value in headers:
        if name == b"x-request-id" and 0 < len(value) <= 128 and ID_CHARACTERS.issuperset(value):
            return value.decode("ascii")
    return new_id("req")


async def _read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The body, whole. Raises BodyTooLarge (413) before reading it when its length is told, CallerLeft."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise BodyTooLarge(f"The request body has {int(value):,} bytes; at most {limit:,} are taken.")
    message: Any = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message["body"]
        if len(body) > limit:
            raise BodyTooLarge(f"The request body is too large; at most {limit:,} bytes are taken.")
        return body
    parts: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit:
            raise BodyTooLarge(f"The request body is too large; at most {limit:,} bytes are taken.")
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise CallerLeft("The caller left while sending its request.")
