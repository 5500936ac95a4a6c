"""From the upstream's first byte to the caller's last one. Owns the entry: closes it before that last byte."""

import asyncio
from typing import Protocol

import msgspec

from gateway.core.call import Call, Headers
from gateway.core.clock import Clock
from gateway.core.errors import CallerLeft, GatewayError, UpstreamFailed, UpstreamTimeout
from gateway.core.event import Closing, Outcome
from gateway.core.usage import Usage
from gateway.ledger.entry import Entry
from gateway.upstream.ahead import ReadAhead, Sent
from gateway.upstream.faults import Aborted, TimedOut, TransportError
from gateway.upstream.send import MAY_BE_AT_WORK, REFUSED_CREDENTIALS
from gateway.upstream.waiting import Waiting
from gateway.wire.delivered import body_text, delivered_text
from gateway.wire.sse import UsageStrip, UsageTap
from gateway.wire.tokens import count_tokens
from gateway.wire.usage import tier_of_event, usage_of_body

# What a caller gets of an upstream's headers. Names of accounts and cookies stay behind.
RETURNED = frozenset(
    {
        b"content-type",
        b"content-disposition",
        b"content-range",
        b"retry-after",
        b"retry-after-ms",
        b"openai-processing-ms",
    }
)
LIMITS = b"x-ratelimit-"
DONE = (b"data: [DONE]\n\n", b"data: [DONE]\r\n\r\n", b"data:[DONE]\n\n")
PROGRESS_SECONDS = 2.0
METERED = frozenset({"chat", "responses", "completions", "embeddings"})
# Of output that cannot be read as anything.
BYTES_PER_TOKEN = 4


class Caller(Waiting, Protocol):
    """The caller's end of a call."""

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Gives a whole reply."""
        ...

    async def start(self, status: int, headers: Headers) -> None:
        """Gives the head of a reply whose body follows in parts."""
        ...

    async def write(self, data: bytes) -> None:
        """Gives a part. Waits while the caller reads slowly."""
        ...

    async def end(self) -> None:
        """Ends the body."""
        ...


class Relay:
    """One reply on its way."""

    def __init__(self, sent: Sent, entry: Entry, call: Call, caller: Caller, clock: Clock, headers: Headers) -> None:
        self._prepared = sent.prepared
        self._upstream = sent.upstream.name if sent.upstream is not None else ""
        self._reply = sent.reply
        self._entry = entry
        self._call = call
        self._caller = caller
        self._clock = clock
        self._headers = headers
        self._first_byte: float | None = None

    async def run(self) -> None:
        """Gives the reply to the caller and closes the entry.

        Raises UpstreamFailed and UpstreamTimeout while the caller has seen nothing yet, CallerLeft when it
        has gone; the entry is closed then too.
        """
        reply = self._reply
        if reply is None:
            await self._own_answer()
            return
        if reply.ahead:
            self._first_byte = self._clock.monotonic() - self._call.inbound.received_monotonic
        try:
            if reply.status in REFUSED_CREDENTIALS:
                self._refused_credentials(reply)
            elif reply.form == "events":
                await self._stream(reply)
            elif reply.form == "whole" and (reply.whole or reply.failure is not None):
                await self._whole(reply)
            else:
                await self._through(reply)
        finally:
            if not reply.whole:
                reply.abort()

    async def _own_answer(self) -> None:
        kind, body = self._prepared.answer or (b"", b"")
        self._entry.close(Closing("ok", 200))
        await self._caller.whole(200, ((b"content-type", kind), *self._headers), body)

    def _refused_credentials(self, reply: ReadAhead) -> None:
        self._entry.close(Closing("upstream_error", 502, "upstream_failed"))
        raise UpstreamFailed(
            f"Upstream {self._upstream!r} refused the gateway's own credentials ({reply.status}). "
            "Its operator must look at `api_key` in policies/models.yaml."
        )

    async def _whole(self, reply: ReadAhead) -> None:
        body = reply.ahead
        if reply.failure is not None:
            raise self._broken(reply.failure, body, None)
        if reply.status < 300:
            usage = usage_of_body(body)
            if usage is None and self._call.endpoint in METERED:
                usage = self._estimate(count_tokens(body_text(body)), tier_of_event(body))
            if self._prepared.heard is not None:
                self._prepared.heard(body_text(body))
            if self._prepared.editor is not None:
                body = self._prepared.editor.whole(body)
            if self._call.endpoint == "passthrough":
                self._entry.passed(self._upstream, body)
            self._entry.close(self._ended(reply.status, usage))
        else:
            # Whoever gave up waiting may have left somebody at work: what that costs is estimated, not nothing.
            outcome: Outcome = "timeout" if reply.status in MAY_BE_AT_WORK else "upstream_error"
            self._entry.close(Closing(outcome, reply.status, _error_of(reply.status)))
        await self._caller.whole(reply.status, self._returned(reply), body)

    async def _through(self, reply: ReadAhead) -> None:
        """A body that is neither JSON nor a stream of events, or too large: passed on as it comes."""
        passed = 0
        try:
            chunk = await reply.read()
            await self._caller.start(reply.status, self._returned(reply))
            while chunk:
                passed += len(chunk)
                await self._caller.write(chunk)
                chunk = await reply.read()
        except TransportError as fault:
            raise self._broken(fault, b"", None, passed) from None
        metered = reply.status < 300 and self._call.endpoint in METERED
        self._entry.close(self._ended(reply.status, self._estimate(passed // BYTES_PER_TOKEN) if metered else None))
        await self._caller.end()

    async def _stream(self, reply: ReadAhead) -> None:
        tap = UsageStrip() if self._prepared.usage_injected else UsageTap()
        try:
            await self._pass_on(reply, tap)
        except asyncio.CancelledError:
            # The end of a drain: what was delivered is booked, without an await.
            if not self._entry.closed:
                usage = self._until_broken(tap)
                self._entry.close(Closing("interrupted", 500, "draining", usage, self._first_byte))
            raise
        except TransportError as fault:
            # After the last event nothing that an upstream does to its socket is the caller's concern.
            if not self._entry.closed:
                told = self._broken(fault, b"", tap)
                await self._give_held(told)
                raise told from None
        await self._caller.end()

    async def _give_held(self, told: GatewayError) -> None:
        """Words that an editor held back belong to the caller, also of a stream that has no end."""
        editor = self._prepared.editor
        if editor is not None and not isinstance(told, CallerLeft) and (held := editor.broken()):
            await self._caller.write(held)

    async def _pass_on(self, reply: ReadAhead, tap: UsageTap) -> None:
        editor, entry, caller = self._prepared.editor, self._entry, self._caller
        monotonic = self._clock.monotonic
        noted = monotonic()
        # Before the head goes out: what fails before its first event is an error with a status.
        chunk = await reply.read()
        await caller.start(reply.status, self._returned(reply))
        while chunk:
            out = tap.feed(chunk) if editor is None else editor.feed(tap.feed(chunk))
            if self._ends(out, tap) and not entry.closed:
                self._entry.close(self._ended(reply.status, tap.usage or self._delivered(tap)))
            if out:
                await caller.write(out)
            now = monotonic()
            if now - noted > PROGRESS_SECONDS and not entry.closed:
                noted = now
                entry.progress(tap.passed_bytes)
            chunk = await reply.read()
        out = tap.finish() if editor is None else editor.feed(tap.finish()) + editor.finish()
        if self._prepared.heard is not None and tap.kept_bytes >= tap.passed_bytes:
            self._prepared.heard(delivered_text(tap.kept))
        if not entry.closed:
            self._entry.close(self._ended(reply.status, tap.usage or self._delivered(tap)))
        if out:
            await caller.write(out)

    def _ends(self, out: bytes, tap: UsageTap) -> bool:
        """Whether the caller will take this for the end of its stream."""
        return out.endswith(DONE) or (self._call.endpoint == "responses" and tap.usage is not None)

    def _delivered(self, tap: UsageTap) -> Usage:
        tokens = count_tokens(delivered_text(tap.kept))
        if tap.kept_bytes and tap.passed_bytes > tap.kept_bytes:
            tokens = -(-tokens * tap.passed_bytes // tap.kept_bytes)
        # A first event without a word yet was made all the same.
        return self._estimate(max(tokens, 1) if tap.passed_bytes else 0, tap.tier())

    def _until_broken(self, tap: UsageTap) -> Usage:
        """The usage of a stream without its end. One that came on the way counts for no less than was delivered."""
        if tap.usage is None:
            return self._delivered(tap)
        if not delivered_text([tap.since_usage()]):
            return tap.usage
        delivered = self._delivered(tap).output_tokens
        if delivered <= tap.usage.output_tokens:
            return tap.usage
        return msgspec.structs.replace(tap.usage, output_tokens=delivered, source="estimated")

    def _estimate(self, output_tokens: int, tier: str = "") -> Usage:
        usage = self._entry.estimate(output_tokens)
        return msgspec.structs.replace(usage, service_tier=tier) if tier else usage

    def _ended(self, status: int, usage: Usage | None) -> Closing:
        if self._caller.left:
            return Closing("caller_left", 499, "caller_left", usage, self._first_byte)
        return Closing("ok", status, "", usage, self._first_byte)

    def _broken(self, fault: TransportError, body: bytes, tap: UsageTap | None, passed: int = 0) -> GatewayError:
        """Books a reply that broke off, and says what to tell the caller. passed: bytes of it that are not kept."""
        if tap is not None:
            tap.finish()
            usage = self._until_broken(tap)
        else:
            usage = usage_of_body(body) or self._estimate((len(body) + passed) // BYTES_PER_TOKEN, tier_of_event(body))
        error: GatewayError
        if isinstance(fault, Aborted):
            error = CallerLeft("The caller left.")
            self._entry.close(Closing("caller_left", 499, error.code, usage, self._first_byte))
        elif isinstance(fault, TimedOut):
            error = UpstreamTimeout(f"Upstream {self._upstream!r} stopped answering.")
            self._entry.close(Closing("timeout", error.status, error.code, usage, self._first_byte))
        else:
            error = UpstreamFailed(f"Upstream {self._upstream!r} broke off in the middle of its answer.")
            self._entry.close(Closing("upstream_error", error.status, error.code, usage, self._first_byte))
        return error

    def _returned(self, reply: ReadAhead) -> Headers:
        kept = tuple(pair for pair in reply.headers if pair[0] in RETURNED or pair[0].startswith(LIMITS))
        return (*kept, *self._headers)


def _error_of(status: int) -> str:
    return "upstream_refused" if status < 500 else "upstream_failed"
