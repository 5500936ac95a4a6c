"""The offline upstream as an ASGI app: who may ask, what goes wrong, and which route answers."""

import hmac
from pathlib import Path

import msgspec

from gateway.core.clock import Clock
from gateway.offline.answering import ANSWERS
from gateway.offline.bill import Bill
from gateway.offline.exchange import CallerGone, Exchange, Receive, Refusal, Scope, Send
from gateway.offline.faults import NO_FAULT, Fault, FaultBook, Laid, fault_from_headers
from gateway.offline.models import model_object
from gateway.offline.organization import answer_organization
from gateway.offline.requests import read_request
from gateway.offline.resources import Ask, Resources
from gateway.offline.work import deliver

CONTROL = "/__offline/"
ORGANIZATION = "/v1/organization/"
TUNING_SECONDS = 3.0


def make_app(
    *,
    key: str | None = None,
    bill_path: Path | None = None,
    tuning_seconds: float = TUNING_SECONDS,
    clock: Clock | None = None,
) -> "OfflineUpstream":
    """A fresh offline upstream, to be run by uvicorn.

    key: the one bearer that is let in; None lets in any. bill_path: a file to append each billed request to.
    tuning_seconds: how long a fine-tuning job takes. Raises OSError when the bill cannot be opened.
    """
    return OfflineUpstream(key, Bill(bill_path), Resources(clock or Clock(), tuning_seconds))


class OfflineUpstream:
    """Everything that one offline upstream holds; an ASGI app."""

    def __init__(self, key: str | None, bill: Bill, resources: Resources) -> None:
        self.bill = bill
        self.faults = FaultBook()
        self.resources = resources
        self._key = None if key is None else f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's scope, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        try:
            await self._serve(exchange)
        except Refusal as refusal:
            await exchange.reply(refusal.body, refusal.status)
        except CallerGone:
            return
        finally:
            exchange.close()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                self.bill.close()
                return

    async def _serve(self, exchange: Exchange) -> None:
        body = await exchange.body()
        if exchange.path.startswith(CONTROL):
            await exchange.reply(self._control(exchange, body))
            return
        self._let_in(exchange)
        answer = ANSWERS.get(exchange.path) if exchange.method == "POST" else None
        if answer is None:
            await self._fail_early(exchange, self._fault(exchange, ""))
            await self._serve_resource(exchange, body)
            return
        shape, compose = answer
        request = read_request(body, shape)
        fault = self._fault(exchange, request.model)
        await self._fail_early(exchange, fault)
        model_object(request.model)
        await deliver(compose(request, with_usage=not fault.no_usage), exchange, fault, self.bill)

    async def _serve_resource(self, exchange: Exchange, body: bytes) -> None:
        if exchange.method == "GET" and exchange.path.startswith(ORGANIZATION):
            await exchange.reply(answer_organization(self.bill, exchange.path, exchange.queries))
            return
        content_type = exchange.headers.get("content-type", "")
        ask = Ask(id="", query=exchange.query, body=body, content_type=content_type)
        found = self.resources.answer(exchange.method, exchange.path, ask)
        if isinstance(found, bytes):
            await exchange.reply_bytes(found, b"application/octet-stream")
        else:
            await exchange.reply(found)

    def _let_in(self, exchange: Exchange) -> None:
        given = exchange.headers.get("authorization", "").encode("latin-1")
        if not given.startswith(b"Bearer "):
            raise Refusal(401, "You didn't provide an API key.")
        if self._key is not None and not hmac.compare_digest(given, self._key):
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")

    def _fault(self, exchange: Exchange, model: str) -> Fault:
        """What the request's own headers ask for, else what was laid ready."""
        try:
            asked = fault_from_headers(exchange.headers)
        except msgspec.ValidationError as fault:
            raise Refusal(400, f"An x-offline-* header is not understood: {fault}") from None
        return self.faults.take(model, exchange.path) if asked == NO_FAULT else asked

    async def _fail_early(self, exchange: Exchange, fault: Fault) -> None:
        """Carries out what goes wrong before the head. Raises CallerGone where no reply is to follow."""
        hangs = fault.hang and fault.truncate_after is None
        if not (fault.drop or hangs or fault.status):
            return
        if fault.delay_ms:
            await exchange.pause(fault.delay_ms / 1_000)
        if fault.drop:
            await exchange.cut()
            raise CallerGone
        if hangs:
            await exchange.pause(None)
        code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(fault.status or 0)
        raise Refusal(fault.status or 500, f"Rehearsed failure with status {fault.status}.", code=code)

    def _control(self, exchange: Exchange, body: bytes) -> object:
        action = (exchange.method, exchange.path.removeprefix(CONTROL))
        if action == ("GET", "bill"):
            return self.bill.summary()
        if action == ("GET", "faults"):
            return {"faults": self.faults.listed()}
        if action == ("POST", "faults"):
            self.faults.lay(read_request(body, Laid))
            return {"faults": self.faults.listed()}
        if action == ("POST", "reset"):
            self.bill.reset()
            self.faults.reset()
            self.resources.reset()
            return {"reset": True}
        raise Refusal(404, "Here are: GET bill, GET faults, POST faults, POST reset.")
