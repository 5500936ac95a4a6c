"""Which way one call goes. Pure: the same call and facts give the same decision, today and in a replay."""

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, Decision, Facts, NeedsKnowledge, Step
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


class Rule(Value, frozen=True):
    """A compiled rule. ways: with the upper end of their share of [0, 1). refusal: a message, or None."""

    name: str
    keys: tuple[str, ...]
    checks: tuple[Check, ...]
    ways: tuple[tuple[float, Way], ...] = ()
    fallbacks: tuple[Way, ...] = ()
    refusal: str | None = None


class Policy(Value, frozen=True):
    """Everything that decides, from one reading of the files. hash: names that reading."""

    hash: str
    rules: tuple[Rule, ...]
    catalogue: Catalogue
    tests: tuple[TestEntry, ...] = ()
    asks_knowledge: frozenset[tuple[str, ...]] = frozenset()

    def steps(self, trace: tuple[int, ...]) -> tuple[Step, ...]:
        """A decision's trace in words."""
        return tuple(
            Step(rule.name, None if place == HELD else rule.keys[place])
            for rule, place in zip(self.rules, trace, strict=False)
        )


def decide(
    policy: Policy, call: Call, principal: Principal, facts: Facts, decision_id: str
) -> Decision | NeedsKnowledge:
    """The decision of the first rule that holds, or what must be looked up before one can tell.

    A refusal is a decision too: its `refusal` says why. Raises ModelNotFound when the rule that holds
    names nothing that exists for this caller.
    """
    trace: list[int] = []
    for rule in policy.rules:
        for place, check in enumerate(rule.checks):
            verdict = check(call, principal, facts)
            if verdict is True:
                continue
            if verdict is False:
                trace.append(place)
                break
            return verdict
        else:
            trace.append(HELD)
            return _go(policy, rule, call, principal, facts, decision_id, tuple(trace))
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
    trace: tuple[int, ...],
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
