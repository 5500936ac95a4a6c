"""Telling: signed after Standard Webhooks, tried for a day, taken or given up."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from gateway.core.errors import BadConfiguration, GatewayError, InvalidRequest
from gateway.core.ids import new_id
from gateway.core.values import Value
from gateway.ledger.webhooks.store import Delivery, WebhookStore

LOOK_SECONDS = 1.0
# Nobody waits longer than this for a receiver; the hold is longer, so that a slow answer is not told twice.
POST_SECONDS = 10.0
HOLD_SECONDS = 60.0
AT_ONCE = 20
# 5 s, 15 s, 45 s, ... 4 h at most; the thirteen tries take about a day.
FIRST_PAUSE_SECONDS = 5.0
FACTOR = 3.0
LONGEST_PAUSE_SECONDS = 4 * 3_600.0
MOST_TRIES = 13
GONE = 410
KEPT_SECONDS = 90 * 86_400.0
PREFIX = "whsec_"
LEAST_KEY_BYTES = 24
NOT_SIGNED = "GATEWAY_WEBHOOK_SECRET is not set: receivers could not tell our messages from anybody's."

log = logging.getLogger("gateway.ledger")
# url, headers, body -> status. Raises GatewayError when there is no answer.
Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]


class Tested(Value, frozen=True):
    """What a test message came to. status: of the receiver, None without an answer; fault: why not."""

    id: str
    url: str
    status: int | None
    fault: str


def signing_keys(secret: str | None) -> tuple[bytes, ...]:
    """The keys that a secret holds, several with spaces between them while one replaces another.

    Each is `whsec_` and base64, as the standard writes it, or plain text. Raises BadConfiguration.
    """
    keys = []
    for written in (secret or "").split():
        key = written.encode()
        if written.startswith(PREFIX):
            try:
                key = base64.b64decode(written.removeprefix(PREFIX), validate=True)
            except binascii.Error:
                raise BadConfiguration(["GATEWAY_WEBHOOK_SECRET: behind whsec_ there must be base64."]) from None
        if len(key) < LEAST_KEY_BYTES:
            told = f"GATEWAY_WEBHOOK_SECRET has a key of {len(key)} bytes; it must have {LEAST_KEY_BYTES} or more."
            raise BadConfiguration([told])
        keys.append(key)
    return tuple(keys)


def signed(keys: tuple[bytes, ...], message: str, at: float, body: bytes) -> dict[str, str]:
    """The headers of a message: its id, the Unix second, and a signature for each key over `id.second.body`."""
    second = str(int(at))
    content = f"{message}.{second}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys]
    return {
        "content-type": "application/json",
        "user-agent": "switchyard",
        "webhook-id": message,
        "webhook-timestamp": second,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def pause_after(tries: int, draw: float) -> float | None:
    """Seconds until the next try, None when it was the last. draw: from 0 to 1, spreads them by a fifth each way."""
    if tries >= MOST_TRIES:
        return None
    return min(FIRST_PAUSE_SECONDS * FACTOR ** (tries - 1), LONGEST_PAUSE_SECONDS) * (0.8 + 0.4 * draw)


def url_fault(url: str) -> str | None:
    """Why nothing can be told to this address; None when it can."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isascii()
    except ValueError:
        good = False
    return None if good else f"{url!r} is no address for a webhook; it must be http(s)://host[:port][/path]."


class Messenger:
    """Sends what is due. keys: see signing_keys; without one nothing is sent and everything waits."""

    def __init__(self, store: WebhookStore, post: Post, keys: tuple[bytes, ...], wall: Callable[[], float]) -> None:
        self.store = store
        self._post = post
        self._keys = keys
        self._wall = wall
        self._forgotten = 0.0

    async def run(self) -> None:
        """Sends messages as they come due, for ever. Raises the database's error when it is away."""
        if not self._keys:
            if await self.store.newest(1, undelivered=True):
                log.warning("webhooks_wait", extra={"fields": {"reason": NOT_SIGNED}})
            return
        while True:
            if not await self.send_due():
                await asyncio.sleep(LOOK_SECONDS)

    async def send_due(self) -> int:
        """Sends what is due now, side by side; gives how many were tried."""
        now = self._wall()
        claimed = await self.store.claim(now, HOLD_SECONDS, AT_ONCE)
        await asyncio.gather(*(self._send(delivery) for delivery in claimed))
        if now - self._forgotten > 3_600:
            self._forgotten = now
            await self.store.forget(now - KEPT_SECONDS)
        return len(claimed)

    async def _send(self, delivery: Delivery) -> None:
        body = delivery.body.encode()
        try:
            status = await self._post(delivery.url, signed(self._keys, delivery.id, self._wall(), body), body)
        except GatewayError as fault:
            await self._again(delivery, fault.message)
            return
        if 200 <= status < 300:
            await self.store.delivered(delivery, self._wall())
        elif status == GONE:
            await self.store.failed(delivery, "The receiver answered 410: it wants no more of these.", None)
            log.warning("webhook_gone", extra={"fields": {"message": delivery.id}})
        else:
            await self._again(delivery, f"The receiver answered {status}.")

    async def _again(self, delivery: Delivery, fault: str) -> None:
        pause = pause_after(delivery.tries, random.random())  # noqa: S311  # a spread, not a secret
        await self.store.failed(delivery, fault, None if pause is None else self._wall() + pause)
        if pause is None:
            log.error("webhook_given_up", extra={"fields": {"message": delivery.id, "error": fault}})

    async def test(self, url: str) -> Tested:
        """Sends one signed test message now and keeps nothing. Raises InvalidRequest (400), BadConfiguration."""
        fault = url_fault(url)
        if fault is not None:
            raise InvalidRequest(fault, param="url")
        if not self._keys:
            raise BadConfiguration([NOT_SIGNED])
        message = new_id("msg")
        body = msgspec.json.encode({"type": "webhook.test", "timestamp": int(self._wall()), "data": {}})
        try:
            status = await self._post(url, signed(self._keys, message, self._wall(), body), body)
        except GatewayError as no_answer:
            return Tested(message, url, None, no_answer.message)
        good = 200 <= status < 300
        return Tested(message, url, status, "" if good else "Only a 2xx says that the message was taken.")
