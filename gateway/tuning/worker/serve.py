"""`python -m gateway.tuning.worker serve`: chat completions from what was trained, and vLLM's way to load adapters.

For trying out, for CI, and for small models on a CPU: one answer at a time. Many callers want a vLLM.
"""

import argparse
import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import msgspec
import uvicorn

from gateway.core.ids import new_id
from gateway.tuning.worker.asked import Ask, Refused, read_ask
from gateway.tuning.worker.generation import Piece
from gateway.tuning.worker.model import settle_torch
from gateway.tuning.worker.served import Named, Served

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MOST_BYTES = 16 * 1024 * 1024
# For answers under way; after END_SECONDS a model that still works is not waited for.
GRACE_SECONDS, END_SECONDS = 1, 1.5


class _Adapter(msgspec.Struct):
    lora_name: str
    lora_path: str = ""
    load_inplace: bool = False


class Server:
    """An ASGI app. The models have a thread of their own; who waits for it has sent a whole request."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._thread = ThreadPoolExecutor(1, "models")
        self._created = int(time.time())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection's scope, as ASGI has it."""
        if scope["type"] != "http":
            return
        try:
            body = await _body(receive)
            if scope["method"] == "POST" and scope["path"] == "/v1/chat/completions":
                await self._chat(read_ask(body), receive, send)
            else:
                await self._other(f"{scope['method']} {scope['path']}", body, send)
        except Refused as refused:
            await _reply(send, refused.body, refused.status)
        except ConnectionResetError:
            return

    async def _other(self, asked: str, body: bytes, send: Send) -> None:
        loop = asyncio.get_running_loop()
        if asked == "GET /v1/models":
            listed = await asyncio.to_thread(self._served.listed)
            await _reply(send, {"object": "list", "data": [self._model(found) for found in listed]})
        elif asked.startswith("GET /v1/models/"):
            found = await asyncio.to_thread(self._served.named, asked.removeprefix("GET /v1/models/"))
            await _reply(send, self._model(found))
        elif asked == "POST /v1/load_lora_adapter":
            new = _adapter(body)
            in_place = new.load_inplace
            await loop.run_in_executor(
                self._thread, lambda: self._served.load(new.lora_name, new.lora_path, in_place=in_place)
            )
            await _reply(send, f"Success: LoRA adapter {new.lora_name!r} added successfully.")
        elif asked == "POST /v1/unload_lora_adapter":
            old = _adapter(body)
            await asyncio.to_thread(self._served.unload, old.lora_name)
            await _reply(send, f"Success: LoRA adapter {old.lora_name!r} removed successfully.")
        elif asked == "GET /health":
            await _reply(send, {"status": "ok"})
        else:
            raise Refused(404, f"{asked} is not served here; chat completions and models are.", code="unknown_url")

    def _model(self, found: Named) -> dict[str, object]:
        """As vLLM lists them: `root` is where an adapter lies, `parent` its base."""
        root = found.base_path if found.adapter is None else str(found.adapter)
        told = {"id": found.name, "object": "model", "created": self._created, "owned_by": "switchyard"}
        return {**told, "root": root, "parent": found.base}

    async def _chat(self, ask: Ask, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_until_gone(receive))
        pieces: asyncio.Queue[Piece | Refused | None] = asyncio.Queue()
        left = threading.Event()
        gone.add_done_callback(lambda _: left.set())
        loop = asyncio.get_running_loop()

        def put(piece: Piece | Refused | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        working = loop.run_in_executor(self._thread, _answer, self._served, ask, left.is_set, put)
        try:
            await (_stream if ask.is_stream else _whole)(ask, pieces, send)
        finally:
            left.set()
            gone.cancel()
            await working


def _answer(served: Served, ask: Ask, left: Callable[[], bool], put: Callable[[Piece | Refused | None], None]) -> None:
    """On the models' thread: ends with None whatever happens, as somebody waits for it."""
    try:
        for piece in served.answer(ask, left):
            put(piece)
    except Refused as refused:
        put(refused)
    except RuntimeError as fault:  # what torch raises, memory that does not suffice among it
        put(Refused(500, f"The model could not answer: {str(fault).partition(chr(10))[0][:200]}"))
    finally:
        put(None)


async def _next(pieces: "asyncio.Queue[Piece | Refused | None]") -> Piece | None:
    piece = await pieces.get()
    if isinstance(piece, Refused):
        raise piece
    return piece


async def _whole(ask: Ask, pieces: "asyncio.Queue[Piece | Refused | None]", send: Send) -> None:
    text = ""
    last: Piece | None = None
    while (piece := await _next(pieces)) is not None:
        text += piece.text
        last = piece
    if last is None or last.finish is None:
        raise ConnectionResetError
    choice = {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None}, "logprobs": None}
    choices = [{**choice, "finish_reason": last.finish}]
    await _reply(send, {**_head(ask, "chat.completion"), "choices": choices, "usage": _usage(last)})


async def _stream(ask: Ask, pieces: "asyncio.Queue[Piece | Refused | None]", send: Send) -> None:
    first = await _next(pieces)
    if first is None:
        raise ConnectionResetError
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    head = _head(ask, "chat.completion.chunk")

    async def say(chunk: dict[str, object] | None) -> None:
        data = b"[DONE]" if chunk is None else msgspec.json.encode(chunk)
        body = b"data: " + data + b"\n\n"
        await send({"type": "http.response.body", "body": body, "more_body": chunk is not None})

    piece: Piece | None = first
    role = {"role": "assistant", "content": ""}
    await say({**head, "choices": [{"index": 0, "delta": role, "finish_reason": None}]})
    while piece is not None:
        for choice in _deltas(piece):
            await say({**head, "choices": [choice]})
        if piece.finish is not None and ask.has_usage:
            await say({**head, "choices": [], "usage": _usage(piece)})
        try:
            piece = await _next(pieces)
        except Refused as refused:
            await say(dict(refused.body))
            break
    await say(None)


def _deltas(piece: Piece) -> Iterator[dict[str, object]]:
    if piece.text:
        yield {"index": 0, "delta": {"content": piece.text}, "finish_reason": None}
    if piece.finish is not None:
        yield {"index": 0, "delta": {}, "finish_reason": piece.finish}


def _head(ask: Ask, kind: str) -> dict[str, object]:
    return {"id": new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": ask.model}


def _usage(last: Piece) -> dict[str, int]:
    total = last.prompt + last.tokens
    return {"prompt_tokens": last.prompt, "completion_tokens": last.tokens, "total_tokens": total}


def _adapter(body: bytes) -> _Adapter:
    try:
        return msgspec.json.decode(body, type=_Adapter)
    except msgspec.DecodeError as fault:
        raise Refused(400, f"The body cannot be read: {fault}.") from None


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise Refused(413, f"The body is larger than {MOST_BYTES:,} bytes.")
        if not message.get("more_body", False):
            return bytes(body)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reply(send: Send, payload: object, status: int = 200) -> None:
    body = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
    kind = b"text/plain; charset=utf-8" if isinstance(payload, str) else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class _Ending(uvicorn.Server):
    """A server that is gone soon after it was told to: a thread of torch hears no signal, and holds the process."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        last = threading.Timer(END_SECONDS, os._exit, (0,))
        last.daemon = True
        last.start()
        super().handle_exit(sig, frame)


def serve(given: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM; says on its first line of output where."""
    bases = {}
    for text in given.model:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            sys.stderr.write(f"--model is {text!r}; it is NAME=PATH.\n")
            return 78
        bases[name] = path
    given.root.mkdir(parents=True, exist_ok=True)
    served = Served(given.root.resolve(), bases, settle_torch(given.threads))
    with socket.create_server((given.host, given.port), backlog=512) as listener:
        sys.stdout.write(f"serving on http://{given.host}:{listener.getsockname()[1]}/v1\n")
        sys.stdout.flush()
        config = uvicorn.Config(
            Server(served),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        try:
            _Ending(config).run(sockets=[listener])
        except KeyboardInterrupt:
            return 0  # uvicorn raises it again after a clean end
    return 0
