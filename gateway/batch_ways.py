"""Which lines of batches a provider may answer at its batch rates: those that the policy sends to it as they are."""

from collections.abc import Callable, Mapping

import msgspec

from gateway.batches.values import Way
from gateway.core.call import Call, Inbound, Principal
from gateway.core.clock import Clock, utc_day
from gateway.core.decision import Arm, Decision
from gateway.core.errors import GatewayError
from gateway.core.facts import Facts
from gateway.core.ids import new_id
from gateway.identity.permitted import open_arms, permitted
from gateway.ledger.entry import Ledger
from gateway.policy.decide import Policy, decide
from gateway.upstream.upstreams import Upstreams
from gateway.wire.route import read_call

BATCH = "batch"
JSON = (b"content-type", b"application/json")


class BatchWays:
    """Decides lines as calls are decided. policy: the one in force."""

    def __init__(self, policy: Callable[[], Policy], ledger: Ledger, upstreams: Upstreams, clock: Clock) -> None:
        self._policy = policy
        self._ledger = ledger
        self._upstreams = upstreams
        self._clock = clock

    def of(self, principal: Principal, path: str, body: bytes) -> Way | None:
        """The upstream that may answer this line; None when it is to be asked here, also when it will be refused.

        A line goes to a provider as it was written, so nothing may change it: no other model, no sources, no caps of
        a rule, no look-up, no copy, no share of a canary.
        """
        inbound = Inbound("POST", path, path.encode(), b"", (JSON,), body, "", self._clock.monotonic())
        try:
            call = permitted(read_call(inbound), principal)
            arm = self._plain(call, principal)
        except GatewayError:
            return None
        upstream = None if arm is None else self._upstreams.current.get(arm.upstream)
        if arm is None or upstream is None or not upstream.entry.supports.batches:
            return None
        batched = msgspec.structs.replace(call, service_tier=BATCH)
        return Way(arm.upstream, self._ledger.ceiling(batched, arm, utc_day(self._clock.wall())))

    def fits(self, principal: Principal, metadata: Mapping[str, str], most_nano_usd: int | None) -> bool:
        """Whether every hard budget has room for so much. What has no price fits into none."""
        pairs = tuple(sorted(metadata.items()))
        meters = self._ledger.budgets.meters(principal, pairs, self._clock.wall())
        hard = [meter for meter in meters if meter.rule.is_hard]
        if most_nano_usd is None:
            return not hard
        return all(meter.is_known and not meter.is_over(most_nano_usd) for meter in hard)

    def _plain(self, call: Call, principal: Principal) -> Arm | None:
        now = self._clock.wall()
        meters = self._ledger.budgets.meters(principal, call.metadata, now)
        used = max((meter.used_ratio for meter in meters if meter.is_known), default=0.0)
        policy = self._policy()
        decision = decide(policy, call, principal, Facts(now, utc_day(now), 0.0, used), new_id("dec"))
        if not isinstance(decision, Decision) or decision.refusal is not None or not open_arms(decision, principal):
            return None
        arm = decision.arm
        is_plain = arm.path in {"direct", "passthrough"} and arm.model == call.model and arm.line is None
        changes = decision.parameters or decision.shadow or decision.others or decision.successor_of
        if not is_plain or changes or call.file_search is not None or call.names_files:
            return None
        # On paths that are passed on, a line's model looks like any other.
        return None if policy.catalogue.line_of(call.model) is not None else arm
