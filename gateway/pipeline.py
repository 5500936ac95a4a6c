"""The way of one call. Read this file first.

Every step needs the value that the step before it made: an upstream call without a Principal, a Decision
and an Entry cannot be written.
"""

import random

from gateway.capturing import Capturing, Heard
from gateway.core.call import Call, Headers, Inbound, Principal
from gateway.core.clock import Clock, utc_day
from gateway.core.decision import Arm, Decision
from gateway.core.errors import CallerLeft, GatewayError, PolicyRefused
from gateway.core.event import Closing, Outcome
from gateway.core.facts import Facts
from gateway.core.ids import new_id
from gateway.explained import decide_looking
from gateway.identity.keys import KeyRing
from gateway.identity.permitted import open_arms, permitted
from gateway.judging import Judges
from gateway.ledger.admission import NOTHING
from gateway.ledger.entry import Entry, Ledger
from gateway.paths.prepare import Paths
from gateway.paths.shelved import MADE_MODEL, Shelved, looked_up
from gateway.policy.decide import Policy
from gateway.relay import Caller, Relay
from gateway.shadow import Shadows
from gateway.upstream.port import Lease
from gateway.upstream.prepared import Prepared
from gateway.upstream.send import Sender
from gateway.wire.parameters import bounded
from gateway.wire.route import read_call

# No server writes these in a header's value: it would end the connection instead.
CONTROL = bytes(range(32)) + b"\x7f"
NOBODY = Principal(team="none", key_id="", key_name="")


class Admitted:
    """What is known of a request so far, for the books of a refusal."""

    __slots__ = ("admission", "call", "decision", "facts", "inbound", "principal")

    def __init__(self, inbound: Inbound) -> None:
        self.inbound = inbound
        self.principal = NOBODY
        self.call = Call(inbound=inbound, endpoint="passthrough", model="")
        self.decision: Decision | None = None
        self.facts: Facts | None = None
        self.admission = NOTHING


class Pipeline:
    """Serves calls. `policy` is replaced as a whole on reload; a call keeps the one it began with."""

    def __init__(
        self,
        keys: KeyRing,
        policy: Policy,
        ledger: Ledger,
        paths: Paths,
        sender: Sender,
        shadows: Shadows,
        judges: Judges,
        clock: Clock,
        shelf: Shelved,
        capturing: Capturing,
    ) -> None:
        self.keys = keys
        self.capturing = capturing
        self.shelf = shelf
        self.policy = policy
        self.ledger = ledger
        self.paths = paths
        self.sender = sender
        self.shadows = shadows
        self.judges = judges
        self.clock = clock

    async def serve(self, inbound: Inbound, caller: Caller, lease: Lease, known: Principal | None = None) -> None:
        """Answers one request through `caller`. Raises GatewayError for what the caller must be told.

        known: whose work of the gateway's own this is; None for a caller's request, whose key says it.
        """
        admitted = Admitted(inbound)
        # Taken with the policy, before anything is awaited: a reload changes nothing for a call that has begun.
        upstreams = self.sender.upstreams.current
        try:
            entry = await self._admit(admitted, known)
        except GatewayError as fault:
            fault.decision_id = admitted.decision.id if admitted.decision is not None else None
            self._refused(admitted, _closing(fault))
            raise
        except BaseException:
            self._refused(admitted, Closing("interrupted", 500, "internal_error"))
            raise
        call, principal, decision, facts = (
            admitted.call,
            admitted.principal,
            admitted.decision,
            admitted.facts,
        )
        if decision is None or facts is None:
            raise RuntimeError("an entry without a decision")
        wanted = known is None and principal.team in self.capturing.terms
        heard = self.capturing.heard(call, principal, caller) if wanted else None
        caller = caller if heard is None else heard
        try:
            sent = await self.sender.send(
                call,
                entry.arms,
                lambda arm: self.paths.prepare(call, principal, decision, arm, facts, upstreams),
                entry,
                lease,
                caller,
                decision.limits,
                upstreams,
            )
            told = reply_headers(call, principal, decision, sent.prepared.arm, inbound.request_id)
            await Relay(sent, entry, call, caller, self.clock, told + sent.prepared.headers).run()
            if decision.shadow is not None or sent.prepared.judging is not None or heard is not None:
                self._afterwards(admitted, decision, facts, sent.prepared, heard)
        except GatewayError as fault:
            fault.decision_id = decision.id
            if not entry.closed:
                entry.close(_closing(fault))
            raise
        except BaseException:
            # Cancelled, or a fault of ours: the books are closed all the same, without an await.
            if not entry.closed:
                entry.close(entry.closing_of_prompt(Closing("interrupted", 500, "internal_error")))
            raise

    def _afterwards(
        self, admitted: Admitted, decision: Decision, facts: Facts, prepared: Prepared, heard: Heard | None
    ) -> None:
        """What is done when the caller has its last byte, so that it delays nobody."""
        if heard is not None:
            self.capturing.keep(heard, decision, prepared.arm)
        if decision.shadow is not None:
            self.shadows.begin(admitted.call, admitted.principal, decision, facts)
        if prepared.judging is not None:
            self.judges.begin(admitted.call, decision, facts, prepared.judging)

    def _refused(self, admitted: Admitted, closing: Closing) -> None:
        decision, facts = admitted.decision, admitted.facts
        self.ledger.refused(admitted.call, admitted.principal, decision, facts, closing, admitted.admission)

    async def _admit(self, admitted: "Admitted", known: Principal | None) -> Entry:
        """Who, what, which way, and is there money: or a refusal."""
        policy, inbound = self.policy, admitted.inbound
        admitted.principal = principal = known or self.keys.principal(inbound, self.clock.wall())
        admitted.call = read_call(inbound)
        admitted.call = call = permitted(admitted.call, principal)
        now = self.clock.wall()
        admitted.admission = admission = self.ledger.admit(call, principal, now)
        facts = Facts(now, utc_day(now), random.random(), admission.used_ratio)  # noqa: S311  # a share, not a secret
        admitted.decision, admitted.facts = await decide_looking(
            policy, call, principal, facts, new_id("dec"), self.paths.lookups
        )
        if admitted.decision.refusal is not None:
            raise PolicyRefused(admitted.decision.refusal)
        arms = open_arms(admitted.decision, principal)
        if call.file_search is not None or call.names_files or call.model.startswith(MADE_MODEL):
            admitted.call, arms = await looked_up(call, principal, arms, self.shelf)
            call = admitted.call
        if admitted.decision.parameters is not None:
            admitted.call = call = bounded(call, admitted.decision.parameters)
        return await self.ledger.open(call, principal, admitted.decision, admitted.facts, admission, arms)


def reply_headers(call: Call, principal: Principal, decision: Decision, arm: Arm, request_id: str) -> Headers:
    """What every reply says about its way."""
    headers = [
        (b"x-request-id", request_id.encode()),
        (b"x-gateway-decision", decision.id.encode()),
        (b"x-gateway-path", arm.path.encode()),
        (b"x-gateway-rule", decision.rule.encode()),
        (b"x-gateway-model", _header_text(arm.model)),
    ]
    ended = arm.successor_of or decision.successor_of
    if ended is not None:
        headers.append((b"x-gateway-successor-of", ended.encode()))
    if principal.debug and call.inbound.header(b"x-gateway-debug") == b"true":
        trace = ",".join(f"{rule}:{place}" for rule, place in decision.trace)
        signals = ",".join(f"{score.kind}:{score.of}={score.score:.3f}" for score in decision.scores)
        reason = f"rule={decision.rule}; trace={trace}; signals={signals}; policy={decision.policy_hash}"
        headers.append((b"x-gateway-reason", reason.encode()))
    return tuple(headers)


def _header_text(text: str) -> bytes:
    """Text that may stand in a header: a model's name is the caller's, and may hold anything."""
    return text.encode("ascii", "backslashreplace").translate(None, CONTROL)


def _closing(fault: GatewayError) -> Closing:
    if isinstance(fault, CallerLeft):
        return Closing("caller_left", fault.status, fault.code)
    outcome: Outcome = "timeout" if fault.status == 504 else "upstream_error" if fault.status >= 500 else "refused"
    return Closing(outcome, fault.status, fault.code)
