"""Copies of calls to another arm, made after the reply: what that arm would answer and cost, before it decides.

A copy is the operator's: booked to the team `gateway` under the endpoint `shadow`, never reserved or billed on the
caller's budget. It begins when the caller has its last byte, so it can delay nobody; its own reply is thrown away.
"""

import asyncio
from collections.abc import Callable

import msgspec

from gateway.core.call import Call, Headers, Principal
from gateway.core.clock import Clock
from gateway.core.decision import Decision, Shadow
from gateway.core.errors import BudgetExceeded, GatewayError
from gateway.core.event import Closing
from gateway.core.facts import Facts
from gateway.core.ids import new_id
from gateway.ledger.cap import Caps
from gateway.ledger.entry import OPERATOR, SHADOW, Ledger
from gateway.paths.prepare import Paths
from gateway.relay import Relay
from gateway.upstream.port import Lease
from gateway.upstream.send import Sender

# More at once would compete with calls that somebody waits for.
MOST_AT_ONCE = 8


class Shadows:
    """Makes copies. spent: by rule, for the month. observe: told (rule, result) of each copy that was due."""

    def __init__(
        self, ledger: Ledger, paths: Paths, sender: Sender, clock: Clock, observe: Callable[[str, str], None]
    ) -> None:
        self._ledger = ledger
        self._paths = paths
        self._sender = sender
        self._clock = clock
        self._observe = observe
        self.spent = Caps()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, call: Call, principal: Principal, decision: Decision, facts: Facts) -> None:
        """Starts the copy that a decision asks for, if it asks for one and there is room and money for it."""
        shadow = decision.shadow
        if shadow is None:
            return
        if len(self._tasks) >= MOST_AT_ONCE:
            self._observe(decision.rule, "busy")
            return
        ceiling = self._ledger.ceiling(call, shadow.arm, facts.today)
        if ceiling is None:
            # What has no price cannot be kept under a cap.
            self._observe(decision.rule, "unpriced")
            return
        self.spent.limit(decision.rule, shadow.monthly_nano_usd)
        try:
            reserved = self.spent.reserve(decision.rule, ceiling, self._clock.wall())
        except BudgetExceeded:
            self._observe(decision.rule, "spent")
            return
        task = asyncio.create_task(self._copy(call, principal, decision, shadow, facts, reserved), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cuts off the copies in flight; what they had sent is booked."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _copy(
        self, call: Call, principal: Principal, decision: Decision, shadow: Shadow, facts: Facts, reserved: int
    ) -> None:
        made = msgspec.structs.replace(decision, arms=(shadow.arm,), others=(), shadow=None, refusal=None, trial=None)
        call = _not_the_same(call)
        entry = self._ledger.open_beside(call, made, facts, SHADOW)
        paths = self._paths.paid_by(OPERATOR)
        nobody = Nobody()
        result = "failed"
        try:
            sent = await self._sender.send(
                call,
                made.arms,
                # The documents that a copy may read are those of the caller's team.
                lambda arm: paths.prepare(call, principal, made, arm, facts),
                entry,
                Lease(),
                nobody,
                made.limits,
            )
            await Relay(sent, entry, call, nobody, self._clock, ()).run()
            result = "made" if sent.reply is None or sent.reply.status < 300 else "failed"
        except GatewayError as fault:
            if not entry.closed:
                entry.close(Closing("upstream_error", fault.status, fault.code))
        finally:
            if not entry.closed:
                entry.close(entry.closing_of_prompt(Closing("interrupted", 500, "interrupted")))
            self.spent.settle(decision.rule, reserved, entry.spent_nano_usd, self._clock.wall())
            self._observe(decision.rule, result)


def _not_the_same(call: Call) -> Call:
    """The call under an id of its own, without the caller's word that a second one like it is the first."""
    headers = tuple(pair for pair in call.inbound.headers if pair[0] != b"idempotency-key")
    inbound = msgspec.structs.replace(call.inbound, headers=headers, call_id=new_id("call"))
    return msgspec.structs.replace(call, inbound=inbound)


class Nobody:
    """The reader of a copy's reply."""

    left = False

    def patience(self, seconds: float) -> None:
        """Nobody leaves, so nothing goes on without them."""

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Takes a whole reply."""

    async def start(self, status: int, headers: Headers) -> None:
        """Takes the head of a reply."""

    async def write(self, data: bytes) -> None:
        """Takes a part."""

    async def end(self) -> None:
        """Takes the end."""
