"""A second model's look at a share of the answers from documents, after the reply.

A judgement is the operator's: booked to the team `gateway` under the endpoint `judge`, as an amount of the call that it
judges. It begins when the caller has its last byte, so it can delay nobody, and changes nothing of what was said.
"""

import asyncio
from collections.abc import Callable

import msgspec

from gateway.core.call import Call, Headers, Inbound
from gateway.core.clock import Clock
from gateway.core.decision import Decision
from gateway.core.errors import GatewayError
from gateway.core.event import Closing
from gateway.core.facts import Facts
from gateway.knowledge.judge import read_judgement
from gateway.ledger.entry import JUDGE, OPERATOR, Ledger
from gateway.paths.prepare import Paths
from gateway.relay import Relay
from gateway.upstream.port import Lease
from gateway.upstream.prepared import Judging
from gateway.upstream.send import Sender
from gateway.wire.delivered import body_text
from gateway.wire.route import read_call

# More at once would compete with calls that somebody waits for.
MOST_AT_ONCE = 8
CHAT = "/v1/chat/completions"


class Judges:
    """Asks judges. observe: told (rule, result, score) of each judgement that was due; the score when there is one."""

    def __init__(
        self,
        ledger: Ledger,
        paths: Paths,
        sender: Sender,
        clock: Clock,
        observe: Callable[[str, str, float | None], None],
    ) -> None:
        self._ledger = ledger
        self._paths = paths
        self._sender = sender
        self._clock = clock
        self._observe = observe
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, call: Call, decision: Decision, facts: Facts, judging: Judging) -> None:
        """Starts the judgement of an answer that was given, if there is room for it and anything to judge."""
        messages = judging.messages()
        if not messages:
            return
        if len(self._tasks) >= MOST_AT_ONCE:
            self._observe(decision.rule, "busy", None)
            return
        body = msgspec.json.encode({"model": judging.arm.model, "messages": messages})
        inbound = Inbound(
            "POST",
            CHAT,
            CHAT.encode(),
            b"",
            ((b"content-type", b"application/json"),),
            body,
            call.inbound.request_id,
            self._clock.monotonic(),
            call.inbound.call_id,
        )
        made = msgspec.structs.replace(decision, arms=(judging.arm,), others=(), shadow=None, refusal=None, trial=None)
        task = asyncio.create_task(self._judge(read_call(inbound), made, facts), name="judge")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cuts off the judgements in flight; what they had sent is booked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _judge(self, call: Call, decision: Decision, facts: Facts) -> None:
        entry = self._ledger.open_beside(call, decision, facts, JUDGE)
        listener = Listener()
        score, result = None, "failed"
        try:
            sent = await self._sender.send(
                call,
                decision.arms,
                lambda arm: self._paths.prepare(call, OPERATOR, decision, arm, facts),
                entry,
                Lease(),
                listener,
            )
            await Relay(sent, entry, call, listener, self._clock, ()).run()
            if listener.status < 300:
                score = read_judgement(body_text(listener.body))
                result = "judged" if score is not None else "unreadable"
        except GatewayError as fault:
            if not entry.closed:
                entry.close(Closing("upstream_error", fault.status, fault.code))
        finally:
            if not entry.closed:
                entry.close(entry.closing_of_prompt(Closing("interrupted", 500, "interrupted")))
            self._observe(decision.rule, result, score)


class Listener:
    """The reader of a judge's reply."""

    left = False

    def __init__(self) -> None:
        self.status = 0
        self.body = b""

    def patience(self, seconds: float) -> None:
        """Nobody leaves, so nothing goes on without them."""

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:  # noqa: ARG002  # as `Caller` has it
        """Takes a whole reply."""
        self.status, self.body = status, body

    async def start(self, status: int, headers: Headers) -> None:  # noqa: ARG002  # as `Caller` has it
        """Takes the head of a reply that comes in parts."""
        self.status = status

    async def write(self, data: bytes) -> None:
        """Takes a part."""
        self.body += data

    async def end(self) -> None:
        """Takes the end."""
