"""Which way one call goes. Pure: the same call and facts give the same decision, today and in a replay."""

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, Decision, Facts, NeedsKnowledge, Step, Trace
from gateway.core.errors import ModelNotFound
from gateway.core.values import Value
from gateway.policy.catalogue import Catalogue, Way
from gateway.policy.condition import Check
from gateway.policy.routing_file import TestEntry

# Rules for these paths hold only where the path can be gone.
SERVES = {
    "rag": frozenset({"chat", "responses"}),
    "fine_tuned": frozenset({"chat", "responses", "completions"}),
}
HELD = -1
# These look at nothing but a call's four names; which rules they let through is worked out once per set of names.
NAMED = ("endpoint", "team", "key", "model")
# Callers choose model names, so what is held for them is bounded.
MAX_HELD = 4096


class Rule(Value, frozen=True):
    """A compiled rule. The first `named` checks are of NAMED conditions, look-ups come last.

    ways: with the upper end of their share of [0, 1). refusal: a message, or None.
    """

    name: str
    keys: tuple[str, ...]
    checks: tuple[Check, ...]
    named: int
    ways: tuple[tuple[float, Way], ...] = ()
    fallbacks: tuple[Way, ...] = ()
    refusal: str | None = None

    @property
    def open_checks(self) -> tuple[tuple[int, Check], ...]:
        """The checks that must look at more than names, with their places."""
        return tuple(enumerate(self.checks))[self.named :]


Shortlist = tuple[tuple[int, tuple[tuple[int, Check], ...]], ...]


class Policy(Value, frozen=True):
    """Everything that decides, from one reading of the files. hash: names that reading."""

    hash: str
    rules: tuple[Rule, ...]
    catalogue: Catalogue
    tests: tuple[TestEntry, ...] = ()
    asks_knowledge: frozenset[tuple[str, ...]] = frozenset()
    held: dict[tuple[str, str, str, str], Shortlist] = msgspec.field(default_factory=dict)

    def shortlist(self, call: Call, principal: Principal, facts: Facts) -> Shortlist:
        """The rules that these names do not rule out, with the checks still to make, up to one that surely holds.

        Makes a policy of 1,000 rules as fast as one of ten for whoever its rules name.
        """
        names = (call.endpoint, principal.team, principal.key_name, call.model)
        found = self.held.get(names)
        if found is None:
            if len(self.held) >= MAX_HELD:
                self.held.clear()
            found = self.held[names] = self._shortlist(call, principal, facts)
        return found

    def _shortlist(self, call: Call, principal: Principal, facts: Facts) -> Shortlist:
        found = []
        for number, rule in enumerate(self.rules):
            if all(check(call, principal, facts) is True for check in rule.checks[: rule.named]):
                found.append((number, rule.open_checks))
                if rule.named == len(rule.checks):
                    break
        return tuple(found)

    def steps(self, trace: Trace, call: Call, principal: Principal, facts: Facts) -> tuple[Step, ...]:
        """A decision's trace in words, rule by rule up to the one that held.

        Of the call and principal only the four names count for rules that are not in the trace.
        """
        places = dict(trace)
        last = trace[-1][0] if trace and trace[-1][1] == HELD else len(self.rules) - 1
        steps = []
        for number, rule in enumerate(self.rules[: last + 1]):
            place = places.get(number)
            if place is None:
                named = enumerate(rule.checks[: rule.named])
                place = next((at for at, check in named if check(call, principal, facts) is not True), 0)
            steps.append(Step(rule.name, None if place == HELD else rule.keys[place]))
        return tuple(steps)


def decide(
    policy: Policy, call: Call, principal: Principal, facts: Facts, decision_id: str
) -> Decision | NeedsKnowledge:
    """The decision of the first rule that holds, or what must be looked up before one can tell.

    A refusal is a decision too: its `refusal` says why. Raises ModelNotFound when the rule that holds
    names nothing that exists for this caller.
    """
    trace: list[tuple[int, int]] = []
    for number, checks in policy.shortlist(call, principal, facts):
        for place, check in checks:
            verdict = check(call, principal, facts)
            if verdict is True:
                continue
            if verdict is False:
                trace.append((number, place))
                break
            return verdict
        else:
            trace.append((number, HELD))
            return _go(policy, policy.rules[number], call, principal, facts, decision_id, tuple(trace))
    return Decision(
        id=decision_id,
        rule="",
        arms=(),
        trace=tuple(trace),
        policy_hash=policy.hash,
        refusal="No rule of the policy holds for this call.",
    )


def _go(
    policy: Policy,
    rule: Rule,
    call: Call,
    principal: Principal,
    facts: Facts,
    decision_id: str,
    trace: Trace,
) -> Decision:
    if rule.refusal is not None:
        return Decision(decision_id, rule.name, (), trace, policy.hash, refusal=rule.refusal)
    if call.endpoint == "passthrough":
        arm = _passthrough(policy.catalogue, rule, call, principal, facts)
        return Decision(decision_id, rule.name, (arm,), trace, policy.hash)
    way = next((way for end, way in rule.ways if facts.draw < end), rule.ways[-1][1])
    chosen = policy.catalogue.resolve(way, call.model, principal.team, facts.today)
    arms = [chosen.arm]
    for fallback in rule.fallbacks:
        arm = policy.catalogue.resolve(fallback, call.model, principal.team, facts.today).arm
        if arm not in arms:
            arms.append(arm)
    return Decision(decision_id, rule.name, tuple(arms), trace, policy.hash, successor_of=chosen.successor_of)


def _passthrough(catalogue: Catalogue, rule: Rule, call: Call, principal: Principal, facts: Facts) -> Arm:
    """Where a call goes whose body we do not rewrite: to the upstream that its model lives at."""
    upstream, model = catalogue.default_upstream(), call.model
    if call.model:
        way = Way(path="direct")
        try:
            resolved = catalogue.resolve(way, call.model, principal.team, facts.today).arm
            upstream, model = resolved.upstream, resolved.model
        except ModelNotFound:
            if rule.ways and rule.ways[0][1].model:
                resolved = catalogue.resolve(rule.ways[0][1], call.model, principal.team, facts.today).arm
                return Arm(path="passthrough", upstream=resolved.upstream, model=resolved.model)
            raise
    return Arm(path="passthrough", upstream=upstream, model=model)
