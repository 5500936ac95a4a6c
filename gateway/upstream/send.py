"""Sending a call: retries, fallbacks and breakers live here and nowhere else."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace

from gateway import __version__
from gateway.core.call import Call
from gateway.core.decision import Arm, CallLimits
from gateway.core.errors import CallerLeft, GatewayError, UpstreamFailed, UpstreamTimeout
from gateway.core.event import Closing
from gateway.upstream.ahead import ReadAhead, Sent
from gateway.upstream.breaker import Breaker
from gateway.upstream.error_event import is_about_options, is_failure
from gateway.upstream.faults import Aborted, ConnectFailed, TimedOut, TransportError
from gateway.upstream.port import Deadlines, Lease, Outgoing, Reply
from gateway.upstream.prepared import Book, Prepared, passed_on, with_what_came
from gateway.upstream.succession import Gone
from gateway.upstream.upstreams import Upstream, Upstreams
from gateway.upstream.waiting import Waiting, deadlines_within, retry_after

# The status says that the call was not served, so that a second try cannot be a second answer.
RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
# Said by whoever stands before the one that does the work: it may go on, and be billed. Another arm may try.
MAY_BE_AT_WORK = frozenset({408, 504})
# Of the gateway's own credential: no answer for a caller, see `relay`.
REFUSED_CREDENTIALS = frozenset({401, 403})
# Across the whole chain, unless the rule says otherwise: retries multiply cost and waiting.
MAX_ATTEMPTS = 3
MAX_PAUSE = 4.0
FIRST_PAUSE = 0.1
# With less time than this nothing is sent: it would be billed and not be read.
LEAST_SECONDS = 0.01
# After the caller has left, an upstream that is to be drained gets this long.
DRAIN_SECONDS = 60.0
# What goes upstream of a caller's headers. The credential never does.
FORWARDED = frozenset(
    {b"content-type", b"accept", b"openai-beta", b"traceparent", b"tracestate", b"idempotency-key", b"range"}
)
OWN = ((b"accept-encoding", b"identity"), (b"user-agent", f"switchyard/{__version__}".encode()))
Observe = Callable[[str, str], None]
Prepare = Callable[[Arm], Awaitable[Prepared]]


class Sender:
    """Tries the arms of a decision in order until one answers. observe: told (upstream, outcome) of each try."""

    def __init__(self, upstreams: Upstreams, observe: Observe) -> None:
        self.upstreams = upstreams
        self.observe = observe
        self.gone = Gone(upstreams.clock.monotonic)

    async def send(
        self,
        call: Call,
        arms: Sequence[Arm],
        prepare: Prepare,
        book: Book,
        lease: Lease,
        caller: Waiting,
        limits: CallLimits | None = None,
        upstreams: Mapping[str, Upstream] | None = None,
    ) -> Sent:
        """The first reply that is worth giving to the caller, its beginning read: see `ahead`.

        What the last upstream says is given as it is: a refusal, an error, a reply that broke off (its `read`
        raises that). limits: in place of the upstreams' own; a deadline counts from here. upstreams: those of the
        policy that decided, whatever a reload brings meanwhile. Raises UpstreamFailed (502), UpstreamTimeout (504),
        CallerLeft, and whatever `prepare` and `book` raise. Every try that sent bytes is booked; the one whose reply
        is given is the reader's to close.
        """
        chain = _Chain(self, call, prepare, book, lease, caller, limits)
        if upstreams is not None:
            chain.upstreams = upstreams
        for place, arm in enumerate(arms, 1):
            sent = await chain.try_arm(arm, last=place == len(arms))
            if sent is not None:
                sent.prepared = passed_on(sent.prepared, chain.passed)
                return sent
        raise chain.fault or UpstreamFailed("No upstream could be asked.")


class _Chain:
    """One call's way through its arms. upstream, breaker, ticket, last: of the arm in turn.

    deadlines, unsent: of its last try. fault: what the caller is told if nobody answers. passed: what a way that found
    nothing to stand on would have said.
    """

    upstream: Upstream
    breaker: Breaker
    ticket: int
    last: bool
    deadlines: Deadlines

    def __init__(
        self,
        sender: Sender,
        call: Call,
        prepare: Prepare,
        book: Book,
        lease: Lease,
        caller: Waiting,
        limits: CallLimits | None,
    ) -> None:
        self.sender = sender
        self.call = call
        self.prepare = prepare
        self.book = book
        self.lease = lease
        self.caller = caller
        self.limits = limits
        self.upstreams = sender.upstreams.current
        self.tries = 0
        self.unsent = False
        self.most = MAX_ATTEMPTS
        self.due = math.inf  # on the loop's clock
        self.fault: GatewayError | None = None
        self.passed: Prepared | None = None
        self.own_waiting: CallLimits | None = None
        if limits is not None:
            bare = replace(limits, deadline_seconds=None, attempts=None)
            self.own_waiting = bare if bare != CallLimits() else None
            self.most = limits.attempts or MAX_ATTEMPTS
            if limits.deadline_seconds is not None:
                self.due = asyncio.get_running_loop().time() + limits.deadline_seconds

    async def try_arm(self, arm: Arm, *, last: bool) -> Sent | None:
        """The arm's answer; None when the next arm should be tried (or none is left: see `fault`)."""
        if self.tries >= self.most:
            return None
        if self.tries and (self.lease.aborted or self.caller.left):
            raise CallerLeft("The caller left between two tries.")
        if self.tries and self._is_over():
            raise UpstreamTimeout(self._deadline_told())
        while arm.successor is not None and self.sender.gone.knows(arm):
            arm = arm.successor
        upstream = self.upstreams[arm.upstream]
        breaker = self.sender.upstreams.breaker(arm.upstream, arm.model, self.own_waiting)
        ticket = breaker.admits()
        if ticket is None:
            self.sender.observe(upstream.name, "breaker_open")
            self.fault = UpstreamFailed(
                f"Upstream {upstream.name!r} has failed repeatedly and is being left alone.",
                retry_after_seconds=math.ceil(breaker.seconds_left) or 1,
            )
            return None
        self.upstream, self.breaker, self.ticket, self.last = upstream, breaker, ticket, last
        try:
            return await self._try_admitted(arm)
        finally:
            if ticket:
                breaker.released(ticket)

    async def _try_admitted(self, arm: Arm) -> Sent | None:
        prepared = await self.prepare(arm)
        if prepared.answer is not None or prepared.instead is not None:
            return await self._not_asked(prepared)
        upstream = self.upstream
        upstream.retries.calls.add(1, 0)
        for attempt in range(upstream.attempts):
            reply = await self._attempt(prepared)
            if reply is None:
                pause = self._pause_before_retry(attempt, 0.0) if self.unsent else None
                if pause is None:
                    return None
                await self._pause(pause)
                continue
            ends = self.last or self.tries >= self.most
            if reply.status in RETRIED:
                wanted = retry_after(reply.headers, self.sender.upstreams.clock.wall())
                at_work = reply.status in MAY_BE_AT_WORK
                pause = None if at_work else self._pause_before_retry(attempt, wanted)
                if pause is not None or not ends:
                    self._refused(reply, at_work=at_work)
                    if pause is None:
                        return None
                    await self._pause(pause)
                    continue
            sent = await self._begun(arm, prepared, reply, ends=ends)
            if sent is not None and arm.line is not None and reply.status >= 400 and sent.reply is not None:
                return await self._refused_by_tuned(arm, sent, sent.reply, ends=ends)
            return sent if sent is None or prepared.weigh is None else await self._weighed(arm, prepared, sent)
        return None

    async def _refused_by_tuned(self, arm: Arm, sent: Sent, reply: ReadAhead, *, ends: bool) -> Sent | None:
        """What a tuned model's refusal comes to: its provider may not have it any more, and a canary costs no call."""
        if self.sender.gone.told(arm, reply.status, reply.ahead) and arm.successor is not None:
            self._refused(reply)
            self.tries -= 1  # One that the provider surely did not work on takes no other's turn.
            return await self.try_arm(arm.successor, last=self.last)
        if (reply.status == 404 or arm.is_canary) and not ends:
            self._refused(reply)
            return None
        return sent

    async def _not_asked(self, prepared: Prepared) -> Sent | None:
        """An answer of our own, or another arm's in place of this one's."""
        if prepared.grounds is not None:
            self.book.note(prepared.grounds)
        if prepared.instead is not None:
            sent = await self.try_arm(prepared.instead, last=self.last)
            if sent is not None:
                sent.prepared = replace(sent.prepared, headers=sent.prepared.headers + prepared.headers)
            return sent
        if prepared.passes_on and not self.last:
            self.passed = prepared
            return None
        return Sent(prepared, None, None)

    async def _weighed(self, arm: Arm, prepared: Prepared, sent: Sent) -> Sent | None:
        """The reply, or what is given in its place; None when the next arm should answer."""
        reply = sent.reply
        is_whole = reply is not None and reply.form == "whole" and reply.whole and reply.status < 300
        if reply is None or not is_whole or prepared.weigh is None or sent.prepared is not prepared:
            return sent
        found = await prepared.weigh(reply.ahead)
        if found.otherwise is None:
            return sent
        self._set_aside(reply)
        if found.again is not None and self.tries < self.most and not self._is_over():
            second = await self._attempt(found.again)
            begun = None if second is None else await self._begun(arm, found.again, second, ends=False)
            if begun is not None and begun.reply is not None and begun.reply.status < 300:
                return begun
            if begun is not None and begun.reply is not None:
                self._refused(begun.reply)
        return await self._not_asked(found.otherwise)

    def _set_aside(self, reply: ReadAhead) -> None:
        """Books an answer that came whole and is not given."""
        closing = self.book.closing_of_prompt(Closing("ok", reply.status, "answer_unsupported"))
        self.book.fail(with_what_came(closing, reply.ahead))

    async def _attempt(self, prepared: Prepared) -> Reply | None:
        """One try, as far as the head. None with `fault` set when it failed; unsent: nothing had left us."""
        upstream = self.upstream
        self.deadlines = deadlines = upstream.deadlines if self.limits is None else self._deadlines(self.limits)
        if self.tries:
            self.caller.patience(0.0)
        self.tries += 1
        self.unsent = False
        await self._booked(prepared)
        outgoing = _outgoing(self.call, prepared, upstream, self.book.attempt_id)
        try:
            reply = await upstream.transport.send(upstream.origin, outgoing, deadlines, self.lease)
        except Aborted as fault:
            if not fault.sent:
                self.book.void()
            raise CallerLeft("The caller left before the reply began.") from None
        except ConnectFailed:
            self.book.void()
            self.unsent = True
            self._failed("connect_failed")
            self.fault = UpstreamFailed(f"Upstream {upstream.name!r} cannot be reached.", retry_after_seconds=1)
            return None
        except TransportError as fault:
            self._failed("timeout" if isinstance(fault, TimedOut) else "broken")
            self.fault = self._told(fault)
            if fault.sent:
                self._book(self.fault, b"")
            else:
                self.book.void()
            return None
        if upstream.drains:
            self.caller.patience(DRAIN_SECONDS)
        # A 429 is the provider's word to one account about its pace; the target itself is well.
        if reply.status >= 500:
            self._failed("5xx")
        elif reply.status >= 300:
            self._succeeded(reply.status)
        return reply

    async def _booked(self, prepared: Prepared) -> None:
        """Has it on record that this try is about to be sent, as durably as the operator wants it."""
        if prepared.grounds is not None:
            self.book.note(prepared.grounds)
        self.book.start(prepared.arm, prepared.context_tokens)
        if self.book.waits:
            await self.book.durable()

    async def _begun(self, arm: Arm, prepared: Prepared, reply: Reply, *, ends: bool) -> Sent | None:
        """The reply with its beginning read; None with `fault` set when the next arm should be tried."""
        ahead = ReadAhead(reply)
        sent = Sent(prepared, ahead, self.upstream)
        if reply.status not in REFUSED_CREDENTIALS:
            await ahead.begin(self.deadlines.first_token_seconds or self.deadlines.first_byte_seconds)
        if reply.status == 400 and prepared.usage_injected and is_about_options(ahead.ahead):
            return await self._without_options(arm, ahead)
        failure = ahead.failure
        if failure is None and not (ahead.first and is_failure(ahead.first)):
            if reply.status < 300:
                self._succeeded(reply.status)
            return sent
        if isinstance(failure, Aborted):
            return sent
        if failure is None:
            self._failed("error_event")
        elif reply.status < 300:
            self._failed("timeout" if isinstance(failure, TimedOut) else "broken")
        if ends:
            return sent
        if failure is None:
            self._refused(ahead)
        else:
            self.fault = self._told(failure)
            self._book(self.fault, ahead.ahead if ahead.form == "whole" else b"")
        return None

    def _deadlines(self, limits: CallLimits) -> Deadlines:
        left = self.due - asyncio.get_running_loop().time()
        if left < LEAST_SECONDS:
            raise UpstreamTimeout(self._deadline_told())
        return deadlines_within(self.upstream.deadlines, limits, left)

    def _is_over(self) -> bool:
        """Whether the call's deadline has passed."""
        return self.due < math.inf and self.due - asyncio.get_running_loop().time() < LEAST_SECONDS

    def _deadline_told(self) -> str:
        seconds = self.limits.deadline_seconds if self.limits is not None else None
        return f"No upstream answered within the call's deadline of {seconds or 0:g} s."

    def _succeeded(self, status: int) -> None:
        self.breaker.succeeded(self.ticket)
        self.sender.observe(self.upstream.name, f"{status // 100}xx")

    def _failed(self, outcome: str) -> None:
        # A later try that the call's deadline cut short had less time than it may take: no fault of its target.
        if self.tries == 1 or not self._is_over():
            self.breaker.failed(self.ticket)
        self.sender.observe(self.upstream.name, outcome)

    def _told(self, fault: TransportError) -> GatewayError:
        name = self.upstream.name
        if not isinstance(fault, TimedOut):
            return UpstreamFailed(f"Upstream {name!r} broke off before it answered.")
        over = self._is_over()
        return UpstreamTimeout(self._deadline_told() if over else f"Upstream {name!r} did not answer in time.")

    def _book(self, fault: GatewayError, came: bytes) -> None:
        """Books a try that was sent and gave no reply to use. came: what there was of a body."""
        slow = isinstance(fault, UpstreamTimeout)
        closing = self.book.closing_of_prompt(
            Closing("timeout" if slow else "upstream_error", fault.status, fault.code)
        )
        self.book.fail(with_what_came(closing, came))

    def _refused(self, reply: Reply, *, at_work: bool = False) -> None:
        """Books a try that was not served: that costs nothing, unless somebody behind it may be at work."""
        status = reply.status if reply.status >= 300 else UpstreamFailed.status
        closing = Closing("upstream_error", status, "upstream_failed")
        self.book.fail(self.book.closing_of_prompt(closing) if at_work else closing)
        reply.abort()
        said = str(reply.status) if reply.status >= 300 else "with an error in place of a stream"
        self.fault = UpstreamFailed(f"Upstream {self.upstream.name!r} answered {said}.")

    async def _without_options(self, arm: Arm, reply: Reply) -> Sent | None:
        """Again without the `stream_options` that we put in; remembered, so that it happens once."""
        # A reload may have put another object in its place meanwhile; `prepare` asks that one.
        self.upstream.takes_stream_options = False
        now = self.sender.upstreams.current.get(arm.upstream)
        if now is not None:
            now.takes_stream_options = False
        self._refused(reply)
        return await self._try_admitted(arm)

    def _pause_before_retry(self, attempt: int, wanted: float) -> float | None:
        """Seconds until another try here; None when there shall be none. wanted: what the upstream asks for."""
        # One try is kept for the next arm. A probe has told what it was sent for.
        most = self.most if self.last else self.most - 1
        if attempt + 1 >= self.upstream.attempts or self.tries >= most or self.ticket or wanted > MAX_PAUSE:
            return None
        # Full jitter: callers that failed together must not come back together.
        pause: float = wanted + FIRST_PAUSE * 2**attempt * random.random()  # noqa: S311  # no secret
        if self.due < math.inf and asyncio.get_running_loop().time() + pause + LEAST_SECONDS >= self.due:
            return None
        if not self.upstream.retries.takes():
            self.sender.observe(self.upstream.name, "retry_budget_spent")
            return None
        return pause

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.lease.aborted or self.caller.left:
            raise CallerLeft("The caller left between two tries.")


def _outgoing(call: Call, prepared: Prepared, upstream: Upstream, attempt_id: str) -> Outgoing:
    inbound = call.inbound
    kept = tuple(pair for pair in inbound.headers if pair[0] in FORWARDED)
    target = inbound.raw_path[3:] + (b"?" + inbound.query if inbound.query else b"")
    # OpenAI's own header for a client's id of a request: with it a row is found in the provider's logs.
    own = (*upstream.headers, *OWN, (b"x-client-request-id", attempt_id.encode()))
    return Outgoing(inbound.method, target, kept + own, prepared.body)
