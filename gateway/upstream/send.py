"""Sending a call: retries, fallbacks and breakers live here and nowhere else."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence

from gateway import __version__
from gateway.core.call import Call, Headers
from gateway.core.decision import Arm
from gateway.core.errors import CallerLeft, GatewayError, UpstreamFailed, UpstreamTimeout
from gateway.core.event import Closing
from gateway.upstream.breaker import Breaker
from gateway.upstream.faults import (
    Aborted,
    ConnectFailed,
    FirstByteTimedOut,
    TotalTimedOut,
    TransportError,
)
from gateway.upstream.port import Lease, Outgoing, Reply
from gateway.upstream.prepared import Book, Prepared
from gateway.upstream.upstreams import Upstream, Upstreams

# The status says that the call was not served, so that a second try cannot be a second answer.
RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
# Across the whole chain: retries multiply cost and waiting.
MAX_ATTEMPTS = 3
MAX_PAUSE = 4.0
FIRST_PAUSE = 0.1
# Enough of a refusal to see what it is about.
REFUSAL_BYTES = 16 * 1024
# What goes upstream of a caller's headers. The credential never does.
FORWARDED = frozenset(
    {b"content-type", b"accept", b"openai-beta", b"traceparent", b"tracestate", b"idempotency-key", b"range"}
)
OWN = ((b"accept-encoding", b"identity"), (b"user-agent", f"switchyard/{__version__}".encode()))
Observe = Callable[[str, str], None]
Prepare = Callable[[Arm], Awaitable[Prepared]]


class Sent:
    """A reply whose head has come, and what was sent for it. reply: None when the answer was made here."""

    __slots__ = ("breaker", "prepared", "reply", "upstream")

    def __init__(
        self, prepared: Prepared, reply: Reply | None, upstream: Upstream | None, breaker: Breaker | None
    ) -> None:
        self.prepared = prepared
        self.reply = reply
        self.upstream = upstream
        self.breaker = breaker


class Sender:
    """Tries the arms of a decision in order until one answers. observe: told (upstream, outcome) of each try."""

    def __init__(self, upstreams: Upstreams, observe: Observe) -> None:
        self._upstreams = upstreams
        self._observe = observe

    async def send(self, call: Call, arms: Sequence[Arm], prepare: Prepare, book: Book, lease: Lease) -> Sent:
        """The first reply that is worth giving to the caller, its head read and its body not.

        A refusal of the last upstream is given as it is. Raises UpstreamFailed (502), UpstreamTimeout (504),
        CallerLeft, and whatever `prepare` and `book` raise. Every try that sent bytes is booked.
        """
        chain = _Chain(self, call, prepare, book, lease)
        for place, arm in enumerate(arms):
            sent = await chain.try_arm(arm, last=place == len(arms) - 1)
            if sent is not None:
                return sent
        raise chain.fault or UpstreamFailed("No upstream could be asked.")

    def upstream(self, name: str) -> Upstream:
        """One upstream by its name."""
        return self._upstreams.named(name)

    def breaker(self, arm: Arm) -> Breaker:
        """The breaker of an arm's target."""
        return self._upstreams.breaker(arm.upstream, arm.model)

    def tell(self, upstream: str, outcome: str) -> None:
        """Counts one try."""
        self._observe(upstream, outcome)


class _Chain:
    """One call's way through its arms."""

    def __init__(self, sender: Sender, call: Call, prepare: Prepare, book: Book, lease: Lease) -> None:
        self.sender = sender
        self.call = call
        self.prepare = prepare
        self.book = book
        self.lease = lease
        self.tries = 0
        self.fault: GatewayError | None = None

    async def try_arm(self, arm: Arm, *, last: bool) -> Sent | None:
        """The arm's answer; None when the next arm should be tried (or none is left: see `fault`)."""
        if self.tries >= MAX_ATTEMPTS:
            return None
        upstream = self.sender.upstream(arm.upstream)
        breaker = self.sender.breaker(arm)
        if not breaker.admits():
            self.sender.tell(upstream.name, "breaker_open")
            self.fault = UpstreamFailed(
                f"Upstream {upstream.name!r} has failed repeatedly and is being left alone.",
                retry_after_seconds=10,
            )
            return None
        try:
            return await self._try_admitted(arm, upstream, breaker, last=last)
        finally:
            breaker.released()

    async def _try_admitted(self, arm: Arm, upstream: Upstream, breaker: Breaker, *, last: bool) -> Sent | None:
        prepared = await self.prepare(arm)
        if prepared.answer is not None:
            return Sent(prepared, None, None, None)
        for attempt in range(upstream.attempts):
            self.tries += 1
            more_here = attempt + 1 < upstream.attempts and self.tries < MAX_ATTEMPTS
            reply = await self._attempt(prepared, upstream, breaker)
            if reply is None:
                if not more_here or not isinstance(self.fault, UpstreamFailed) or not self.fault.retry_after_seconds:
                    return None
                await self._pause(attempt, None)
                continue
            if reply.status == 400 and prepared.usage_injected:
                reply = ahead = await _ReadAhead.of(reply)
                if b"stream_options" in ahead.ahead or b"include_usage" in ahead.ahead:
                    return await self._without_options(arm, reply, upstream, breaker, last=last)
            pause = _retry_after(reply.headers)
            more_here = more_here and (pause or 0) <= MAX_PAUSE
            ends = last or self.tries >= MAX_ATTEMPTS
            # A tuned model that is gone at its provider answers 404: its fallback is what the policy has for that.
            gone = reply.status == 404 and arm.line is not None and not ends
            if not gone and not (reply.status in RETRIED and (more_here or not ends)):
                return Sent(prepared, reply, upstream, breaker)
            self.book.fail(Closing("upstream_error", reply.status, "upstream_failed"))
            reply.abort()
            self.fault = UpstreamFailed(f"Upstream {upstream.name!r} answered {reply.status}.")
            if not more_here or gone:
                return None
            await self._pause(attempt, pause)
        return None

    async def _attempt(self, prepared: Prepared, upstream: Upstream, breaker: Breaker) -> Reply | None:
        """One try. None with `fault` set when it failed; a fault with retry_after was never sent."""
        self.book.start(prepared.arm, prepared.context_tokens)
        outgoing = _outgoing(self.call, prepared, upstream, self.book.attempt_id)
        try:
            reply = await upstream.transport.send(upstream.origin, outgoing, upstream.deadlines, self.lease)
        except Aborted as fault:
            if not fault.sent:
                self.book.void()
            raise CallerLeft("The caller left before the reply began.") from None
        except ConnectFailed:
            self.book.void()
            breaker.failed()
            self.sender.tell(upstream.name, "connect_failed")
            self.fault = UpstreamFailed(f"Upstream {upstream.name!r} cannot be reached.", retry_after_seconds=1)
            return None
        except TransportError as fault:
            breaker.failed()
            slow = isinstance(fault, (FirstByteTimedOut, TotalTimedOut))
            self.sender.tell(upstream.name, "timeout" if slow else "broken")
            self.fault = (
                UpstreamTimeout(f"Upstream {upstream.name!r} did not answer in time.")
                if slow
                else UpstreamFailed(f"Upstream {upstream.name!r} broke off before it answered.")
            )
            if fault.sent:
                closing = Closing("timeout" if slow else "upstream_error", self.fault.status, self.fault.code)
                self.book.fail(self.book.closing_of_prompt(closing))
            else:
                self.book.void()
            return None
        # A 429 is the provider's word to one account about its pace; the target itself is well.
        if reply.status >= 500:
            breaker.failed()
        else:
            breaker.succeeded()
        self.sender.tell(upstream.name, f"{reply.status // 100}xx")
        return reply

    async def _without_options(
        self, arm: Arm, reply: Reply, upstream: Upstream, breaker: Breaker, *, last: bool
    ) -> Sent | None:
        """Again without the `stream_options` that we put in; remembered, so that it happens once."""
        # A reload may have put another object in its place meanwhile; `prepare` asks that one.
        upstream.takes_stream_options = self.sender.upstream(arm.upstream).takes_stream_options = False
        reply.abort()
        self.book.fail(Closing("upstream_error", reply.status, "upstream_failed"))
        return await self._try_admitted(arm, upstream, breaker, last=last)

    async def _pause(self, attempt: int, wanted: float | None) -> None:
        # Full jitter: callers that failed together must not come back together.
        pause = FIRST_PAUSE * 2**attempt * random.random() if wanted is None else wanted  # noqa: S311  # no secret
        await asyncio.sleep(min(pause, MAX_PAUSE))
        if self.lease.aborted:
            raise CallerLeft("The caller left between two tries.")


class _ReadAhead:
    """A reply whose beginning was looked at; `read` gives it again."""

    def __init__(self, reply: Reply, ahead: bytes) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self.ahead = ahead
        self._given = False
        self._reply = reply

    @classmethod
    async def of(cls, reply: Reply) -> "_ReadAhead":
        ahead = b""
        # A refusal that breaks off is judged by what came of it; who reads on is told by the reply itself.
        with contextlib.suppress(TransportError):
            while len(ahead) < REFUSAL_BYTES and (more := await reply.read()):
                ahead += more
        return cls(reply, ahead)

    async def read(self) -> bytes:
        if not self._given:
            self._given = True
            if self.ahead:
                return self.ahead
        return await self._reply.read()

    def abort(self) -> None:
        self._reply.abort()


def _outgoing(call: Call, prepared: Prepared, upstream: Upstream, attempt_id: str) -> Outgoing:
    inbound = call.inbound
    kept = tuple(pair for pair in inbound.headers if pair[0] in FORWARDED)
    target = inbound.raw_path[3:] + (b"?" + inbound.query if inbound.query else b"")
    # OpenAI's own header for a client's id of a request: with it a row is found in the provider's logs.
    own = (*upstream.headers, *OWN, (b"x-client-request-id", attempt_id.encode()))
    return Outgoing(inbound.method, target, kept + own, prepared.body)


def _retry_after(headers: Headers) -> float | None:
    """Seconds that the upstream asks to wait; None when it says nothing we read (dates are left alone)."""
    for name, value in headers:
        if name in {b"retry-after-ms", b"retry-after"}:
            try:
                seconds = float(value) / (1000 if name.endswith(b"-ms") else 1)
            except ValueError:
                continue
            return max(0.0, seconds)
    return None
