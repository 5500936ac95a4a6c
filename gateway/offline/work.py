"""An answer that is ready to go out, whole or as a stream; and its way out, booked and with its faults."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.core.values import Value
from gateway.offline.bill import Bill, Outcome, Row
from gateway.offline.exchange import CallerGone, Exchange
from gateway.offline.faults import Fault


class Event(Value, frozen=True):
    """One server-sent event, and how many completion tokens it carries."""

    data: bytes
    tokens: int = 0


class Work(msgspec.Struct):
    """One answer. stream: its events and, kept apart, its last bytes; None for a whole reply.

    The last bytes are apart because the bill is written before them: who has seen the end of an answer can
    count on finding it booked.
    """

    id: str
    model: str
    endpoint: str
    prompt_tokens: int
    completion_tokens: int
    whole: dict[str, Any] = {}
    stream: Iterator[Event] | None = None
    ending: bytes = b"data: [DONE]\n\n"

    def row(self, outcome: Outcome, completion_tokens: int, attempt: str) -> Row:
        """The line for the bill."""
        return Row(
            id=self.id,
            model=self.model,
            endpoint=self.endpoint,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=completion_tokens,
            stream=self.stream is not None,
            outcome=outcome,
            attempt=attempt,
        )


def sse(payload: object, name: str | None = None) -> bytes:
    """A payload as a server-sent event, with an `event:` line when it has a name."""
    data = b"data: " + msgspec.json.encode(payload) + b"\n\n"
    return data if name is None else b"event: " + name.encode() + b"\n" + data


async def deliver(work: Work, exchange: Exchange, fault: Fault, bill: Bill) -> None:
    """Sends the answer and books it exactly once, whatever happens on the way."""
    attempt = exchange.headers.get("x-client-request-id", "")
    if fault.delay_ms:
        try:
            await exchange.pause(fault.delay_ms / 1_000)
        except CallerGone:
            bill.add(work.row("caller_left", 0, attempt))
            return
    if work.stream is None:
        await _deliver_whole(work, exchange, fault, bill, attempt)
    else:
        await _deliver_stream(work, work.stream, exchange, fault, bill, attempt)


async def _deliver_whole(work: Work, exchange: Exchange, fault: Fault, bill: Bill, attempt: str) -> None:
    body = msgspec.json.encode(work.whole)
    cut = fault.truncate_after is not None
    bill.add(work.row("truncated" if cut else "ok", work.completion_tokens, attempt))
    if not cut:
        await exchange.reply_bytes(body, b"application/json")
        return
    await exchange.start(200, b"application/json", len(body))
    await exchange.chunk(body[: len(body) // 2])
    await _stop(exchange, fault)


async def _deliver_stream(
    work: Work, events: Iterator[Event], exchange: Exchange, fault: Fault, bill: Bill, attempt: str
) -> None:
    told = 0
    outcome: Outcome = "interrupted"
    try:
        await exchange.start(200, b"text/event-stream; charset=utf-8")
        for count, event in enumerate(events):
            if count == fault.truncate_after:
                outcome = "truncated"
                break
            if count:
                await exchange.pause(fault.chunk_delay_ms / 1_000)
            await exchange.chunk(event.data)
            told += event.tokens
        else:
            await exchange.pause(fault.chunk_delay_ms / 1_000)
            outcome, told = "ok", work.completion_tokens
    except CallerGone:
        outcome = "caller_left"
    finally:
        # In `finally` and without an await: a task that is cancelled at shutdown books what it made, too.
        bill.add(work.row(outcome, told, attempt))
    if outcome == "ok":
        await exchange.chunk(work.ending, last=True)
    elif outcome == "truncated":
        await _stop(exchange, fault)


async def _stop(exchange: Exchange, fault: Fault) -> None:
    """The caller hears no more: nothing until it leaves, or the connection's end."""
    if fault.hang:
        try:
            await exchange.pause(None)
        except CallerGone:
            return
    await exchange.cut()
