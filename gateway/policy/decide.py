"""Which way one call goes. Pure: the same call and facts give the same decision, today and in a replay."""

import contextlib

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.decision import Arm, CallLimits, Decision, Features, Names, Parameters, Shadow, Step, Trace, Trial
from gateway.core.errors import ModelNotFound
from gateway.core.facts import Facts, Needs
from gateway.core.values import Value
from gateway.policy.catalogue import Catalogue, Copy, OnTrial, Resolved, Way
from gateway.policy.condition import Check, Part
from gateway.policy.seen import Patterns, Seen
from gateway.policy.weights import Weights
from gateway.policy.written_call import TestEntry

# Rules for these paths hold only where the path can be gone.
SERVES = {
    "rag": frozenset({"chat", "responses"}),
    "fine_tuned": frozenset({"chat", "responses", "completions"}),
}
HELD = -1
# Callers choose some of the names that rules compare, so what is held for them is bounded.
MAX_HELD = 4096
# The rule of a decision that no rule made; no rule of a policy may have such a name.
AS_NAMED = "(as named)"
# Spreads the draw anew: which calls are copied must not depend on which target they drew.
SPREAD = 7919.0


class Rule(Value, frozen=True):
    """A compiled rule. The first `named` parts compare names, look-ups come last.

    ways: with the upper end of their share of [0, 1); with is_canary the first is on trial. refusal: a message, or
    None.
    """

    name: str
    parts: tuple[Part, ...]
    named: int
    ways: tuple[tuple[float, Way], ...] = ()
    is_canary: bool = False
    sticky: str | None = None
    fallbacks: tuple[Way, ...] = ()
    shadow: Copy | None = None
    limits: CallLimits | None = None
    parameters: Parameters | None = None
    refusal: str | None = None

    @property
    def open_checks(self) -> tuple[tuple[int, Check], ...]:
        """The checks that must look at more than names, with their places."""
        return tuple(enumerate(part.check for part in self.parts))[self.named :]


Shortlist = tuple[tuple[int, tuple[tuple[int, Check], ...]], ...]


class Policy(Value, frozen=True):
    """Everything that decides, from one reading of the files. hash: names that reading.

    asks_knowledge, asks_tasks: the collections and lines that rules ask about.
    """

    hash: str
    rules: tuple[Rule, ...]
    catalogue: Catalogue
    weights: Weights
    patterns: Patterns
    tests: tuple[TestEntry, ...] = ()
    asks_knowledge: frozenset[tuple[str, ...]] = frozenset()
    asks_tasks: frozenset[str] = frozenset()
    metadata_keys: frozenset[str] = frozenset()
    header_names: frozenset[bytes] = frozenset()
    held: dict[Names, Shortlist] = msgspec.field(default_factory=dict)

    def seen(self, call: Call, principal: Principal, facts: Facts) -> Seen:
        """The call as this policy's rules look at it."""
        metadata: tuple[tuple[str, str], ...] = ()
        headers: tuple[tuple[str, str], ...] = ()
        if self.metadata_keys and call.metadata:
            metadata = tuple([pair for pair in call.metadata if pair[0] in self.metadata_keys])
        if self.header_names:
            wanted = self.header_names
            headers = tuple(
                [(n.decode("latin-1"), v.decode("latin-1")) for n, v in call.inbound.headers if n in wanted]
            )
        names = Names(
            call.endpoint,
            principal.team,
            principal.key_name,
            call.model,
            call.has_tools,
            call.asked_path,
            metadata,
            headers,
        )
        return Seen(names, None, facts, self.patterns, self.weights, call)

    def seen_again(
        self, names: Names, features: Features, facts: Facts, draw: float, trial: float | None = None
    ) -> Seen:
        """A recorded call as this policy's rules look at it."""
        return Seen(names, features, facts, self.patterns, self.weights, draw=draw, trial=trial)

    def shortlist(self, seen: Seen) -> Shortlist:
        """The rules that these names do not rule out, with the checks still to make, up to one that surely holds.

        Makes a policy of 1,000 rules nearly as fast as one of ten for whoever its rules name.
        """
        found = self.held.get(seen.names)
        if found is None:
            if len(self.held) >= MAX_HELD:
                self.held.clear()
            found = self.held[seen.names] = self._shortlist(seen)
        return found

    def _shortlist(self, seen: Seen) -> Shortlist:
        found = []
        for number, rule in enumerate(self.rules):
            if all(part.check(seen) is True for part in rule.parts[: rule.named]):
                found.append((number, rule.open_checks))
                if rule.named == len(rule.parts):
                    break
        return tuple(found)

    def steps(self, trace: Trace, seen: Seen) -> tuple[Step, ...]:
        """A decision's trace in words, rule by rule up to the one that held.

        Of the call only its names count for rules that are not in the trace.
        """
        places = dict(trace)
        last = trace[-1][0] if trace and trace[-1][1] == HELD else len(self.rules) - 1
        steps = []
        for number, rule in enumerate(self.rules[: last + 1]):
            place = places.get(number)
            if place is None:
                named = enumerate(rule.parts[: rule.named])
                place = next((at for at, part in named if part.check(seen) is not True), rule.named)
            steps.append(Step(rule.name, None if place == HELD else rule.parts[place].key))
        return tuple(steps)


def decide(policy: Policy, call: Call, principal: Principal, facts: Facts, decision_id: str) -> Decision | Needs:
    """The decision of the first rule that holds, or what must be looked up before one can tell.

    A refusal is a decision too: its `refusal` says why. Raises ModelNotFound when the rule that holds
    names nothing that exists for this caller.
    """
    return decide_seen(policy, policy.seen(call, principal, facts), decision_id, principal)


def decide_seen(policy: Policy, seen: Seen, decision_id: str, principal: Principal | None = None) -> Decision | Needs:
    """The same for a call that is already seen: live with its principal, in a replay without."""
    trace: list[tuple[int, int]] = []
    for number, checks in policy.shortlist(seen):
        for place, check in checks:
            verdict = check(seen)
            if verdict is True:
                continue
            if verdict is False:
                # Most fail at the first check that was left to make; saying so for each of a thousand costs more
                # than the checks.
                if place != checks[0][0]:
                    trace.append((number, place))
                break
            return verdict
        else:
            trace.append((number, HELD))
            return _gone(policy, policy.rules[number], seen, decision_id, tuple(trace), principal)
    refusal = "No rule of the policy holds for this call."
    return Decision(
        decision_id, "", (), tuple(trace), policy.hash, seen.names, seen.features, refusal=refusal, scores=seen.scores()
    )


def decide_as_named(policy: Policy, seen: Seen, decision_id: str) -> Decision:
    """The decision for a call that is to be answered by what it names and by nothing else, whatever rules say.

    Nothing is on trial in its place, nobody stands behind it. Raises ModelNotFound (404), also when its line has ended.
    """
    names = seen.names
    found = policy.catalogue.resolve(Way(path="direct"), names.model, names.team, seen.facts.today)
    if found.successor_of is not None:
        told = f"{names.model!r} has ended, so {found.arm.model!r} would answer in its place."
        raise ModelNotFound(told, param="model")
    arm = msgspec.structs.replace(_served(found, seen), successor=None)
    return Decision(decision_id, AS_NAMED, (arm,), (), policy.hash, names, seen.features, seen.facts.draw)


def _gone(
    policy: Policy, rule: Rule, seen: Seen, decision_id: str, trace: Trace, principal: Principal | None
) -> Decision:
    """The decision with the arms that the rule means for this call today."""
    arms: tuple[Arm, ...] = ()
    others: tuple[Arm, ...] = ()
    chosen: Resolved | None = None
    draw = seen.facts.draw
    shadow = trial = None
    if rule.refusal is not None:
        pass
    elif seen.names.endpoint == "passthrough":
        arms = (_passthrough(policy.catalogue, rule, seen),)
    elif len(rule.ways) == 1 and not rule.fallbacks:
        chosen = _resolve(policy, rule.ways[0][1], seen)
        arms = (_served(chosen, seen),)
    else:
        draw = seen.draw(rule.name, rule.sticky, principal)
        arms, others, chosen = _chosen(policy, rule, seen, draw)
    if chosen is not None and chosen.trial is not None:
        trial, arms, others = _tried(chosen.trial, arms, others, seen)
    if rule.shadow is not None and arms:
        shadow = _shadow(policy, rule.shadow, seen)
    return Decision(
        decision_id,
        rule.name,
        arms,
        trace,
        policy.hash,
        seen.names,
        seen.features,
        draw,
        None if chosen is None else chosen.successor_of,
        rule.refusal,
        rule.limits,
        rule.parameters,
        shadow,
        others,
        seen.scores() if seen.facts.knowledge or seen.facts.tasks else (),
        trial,
    )


def _tried(
    found: OnTrial, arms: tuple[Arm, ...], others: tuple[Arm, ...], seen: Seen
) -> tuple[Trial, tuple[Arm, ...], tuple[Arm, ...]]:
    """The arms with a line's challenger before its champion, or among those left aside."""
    champion, challenger = found.champion, found.arm
    name = f"{challenger.line}@v{challenger.version}"
    trial = Trial(challenger.line or "", champion, challenger.version or 0, found.share, seen.trial_draw(name))
    model = (challenger.upstream, challenger.model)
    if not trial.is_drawn:
        return trial, arms, (*others, challenger)
    rest = tuple([arm for arm in arms if (arm.path, arm.upstream, arm.model) != (challenger.path, *model)])
    return trial, (challenger, *rest), others


def _chosen(policy: Policy, rule: Rule, seen: Seen, draw: float) -> tuple[tuple[Arm, ...], tuple[Arm, ...], Resolved]:
    """The arms in order, those that the draw left aside, and what the first was resolved from."""
    place = next((place for place, (end, _) in enumerate(rule.ways) if draw < end), len(rule.ways) - 1)
    drawn = rule.ways[place][1]
    left = [way for _, way in rule.ways if way is not drawn]
    spares = list(rule.fallbacks)
    if rule.is_canary and place == 0:
        # What is on trial must cost nobody a call: the rule's own target stands behind it.
        spares = left + spares
    try:
        chosen = _resolve(policy, drawn, seen)
        arms = [_served(chosen, seen)]
    except ModelNotFound:
        if not (rule.is_canary and place == 0):
            raise
        chosen = _resolve(policy, left[0], seen)
        arms = [_served(chosen, seen)]
    arms += [arm for arm in _there(policy, spares, seen) if arm not in arms]
    others = [arm for arm in _there(policy, left, seen) if arm not in arms]
    return tuple(dict.fromkeys(arms)), tuple(others), chosen


def _there(policy: Policy, ways: list[Way], seen: Seen) -> list[Arm]:
    """The arms of ways that exist today: what a rule falls back on may be gone, and that must cost no call."""
    arms = []
    for way in ways:
        with contextlib.suppress(ModelNotFound):
            arms.append(_resolve(policy, way, seen).arm)
    return arms


def _shadow(policy: Policy, copy: Copy, seen: Seen) -> Shadow | None:
    if seen.facts.draw * SPREAD % 1.0 >= copy.share or seen.names.endpoint == "passthrough":
        return None
    arms = _there(policy, [copy.way], seen)
    return Shadow(arms[0], copy.monthly_nano_usd) if arms else None


def _resolve(policy: Policy, way: Way, seen: Seen) -> Resolved:
    return policy.catalogue.resolve(way, seen.names.model, seen.names.team, seen.facts.today)


def _served(chosen: Resolved, seen: Seen) -> Arm:
    """The arm, if its path can be gone at this endpoint. Raises ModelNotFound (404) when it cannot."""
    arm, endpoint = chosen.arm, seen.names.endpoint
    endpoints = SERVES.get(arm.path)
    if endpoints is None or endpoint in endpoints:
        return arm
    if chosen.successor_of is not None and arm.path == "rag":
        # A line that served this endpoint has ended: its successor's model answers, without sources.
        return msgspec.structs.replace(arm, path="direct", collections=())
    served = ", ".join(sorted(endpoints))
    raise ModelNotFound(f"The model {seen.names.model!r} serves {served}; this is {endpoint}.", param="model")


def _passthrough(catalogue: Catalogue, rule: Rule, seen: Seen) -> Arm:
    """Where a call goes whose body we do not rewrite: to the upstream that its model lives at."""
    model, team, today = seen.names.model, seen.names.team, seen.facts.today
    if not model:
        return Arm(path="passthrough", upstream=catalogue.default_upstream(), model=model)
    try:
        found = catalogue.resolve(Way(path="direct"), model, team, today).arm
    except ModelNotFound:
        if not rule.ways or not rule.ways[0][1].model:
            raise
        found = catalogue.resolve(rule.ways[0][1], model, team, today).arm
    return Arm(path="passthrough", upstream=found.upstream, model=found.model)
