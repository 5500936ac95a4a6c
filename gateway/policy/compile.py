"""From what people wrote to what decides: every fault found, all at once, with its place."""

from collections.abc import Iterator
from typing import Any

from gateway.core.decision import CallLimits, Grounding, Parameters
from gateway.core.document import Document
from gateway.core.errors import BadConfiguration
from gateway.core.facts import Needs
from gateway.core.money import nano_from_usd
from gateway.policy.catalogue import Catalogue, Copy, Terms, Way
from gateway.policy.condition import Check, Compiling, Cost, Part
from gateway.policy.decide import SERVES, Policy, Rule
from gateway.policy.faults import routing_faults
from gateway.policy.routing_file import (
    COMPOSED,
    CONDITIONS,
    ParametersEntry,
    RoutingFile,
    RuleEntry,
    UseEntry,
    WayEntry,
    When,
)
from gateway.policy.seen import Patterns, Seen
from gateway.policy.weights import Weights


def compile_policy(
    routing: RoutingFile, document: Document, catalogue: Catalogue, weights: Weights, policy_hash: str
) -> Policy:
    """The policy. Raises BadConfiguration with every fault as file:line:column."""
    faults = list(routing_faults(routing, document, catalogue))
    if faults:
        raise BadConfiguration(faults)
    compiling = Compiling(catalogue)
    rules = tuple(_rule(entry, compiling) for entry in routing.rules)
    return Policy(
        hash=policy_hash,
        rules=rules,
        catalogue=catalogue,
        weights=weights,
        patterns=Patterns(compiling.patterns),
        tests=tuple(routing.tests),
        asks_knowledge=frozenset(compiling.collections),
        asks_tasks=frozenset(compiling.lines),
        metadata_keys=frozenset(compiling.metadata_keys),
        header_names=frozenset(compiling.header_names),
    )


def compile_when(when: When | None, compiling: Compiling) -> tuple[Part, ...]:
    """The conditions of one group, cheapest first wherever they stand: what a plain one settles pays for no more."""
    parts = [_part(key, when.value(key), compiling) for key in when.written()] if when is not None else []
    return tuple(sorted(parts, key=lambda part: part.cost))


def _part(key: str, value: Any, compiling: Compiling) -> Part:
    if key not in COMPOSED:
        condition = CONDITIONS[key]
        return Part(key, condition.cost, condition.compile(value, compiling))
    groups = [compile_when(group, compiling) for group in (value if isinstance(value, list) else [value])]
    groups.sort(key=_dearest)
    checks = [_every([part.check for part in group]) for group in groups]
    composed = {"all": _every, "any": _either, "not": _none}[key]
    return Part(key, _dearest(groups[-1]), composed(checks), tuple(groups))


def _dearest(group: tuple[Part, ...]) -> Cost:
    return max(part.cost for part in group)


def _every(checks: list[Check]) -> Check:
    """All hold. What is needed is asked for only while none has failed."""
    if len(checks) == 1:
        return checks[0]

    def check(seen: Seen) -> bool | Needs:
        open_need: Needs | None = None
        for one in checks:
            verdict = one(seen)
            if verdict is False:
                return False
            if verdict is not True:
                open_need = open_need or verdict
        return open_need or True

    return check


def _either(checks: list[Check]) -> Check:
    """At least one holds. What is needed is asked for only while none has held."""

    def check(seen: Seen) -> bool | Needs:
        open_need: Needs | None = None
        for one in checks:
            verdict = one(seen)
            if verdict is True:
                return True
            if verdict is not False:
                open_need = open_need or verdict
        return open_need or False

    return check


def _none(checks: list[Check]) -> Check:
    """The one group does not hold."""
    (inner,) = checks

    def check(seen: Seen) -> bool | Needs:
        verdict = inner(seen)
        return not verdict if isinstance(verdict, bool) else verdict

    return check


def _rule(entry: RuleEntry, compiling: Compiling) -> Rule:
    parts = compile_when(entry.when, compiling)
    endpoints = SERVES.get(entry.use.path) if entry.use is not None else None
    if endpoints is not None:
        parts = (Part("endpoint", Cost.NAME, _serves(endpoints)), *parts)
    named = sum(part.cost == Cost.NAME for part in parts)
    use = entry.use
    if use is None:
        return Rule(entry.name, parts, named, refusal=entry.refuse)
    return Rule(
        name=entry.name,
        parts=parts,
        named=named,
        ways=tuple(_ways(use)),
        is_canary=use.canary is not None,
        sticky=use.sticky,
        fallbacks=tuple(_way(fallback) for fallback in use.fallback),
        shadow=_copy(use),
        limits=_limits(use),
        parameters=_parameters(use),
    )


def _serves(endpoints: frozenset[str]) -> Check:
    return lambda seen: seen.names.endpoint in endpoints


def _way(entry: WayEntry, model: str | None = None, line: str | None = None) -> Way:
    return Way(
        path=entry.path,
        model=model or entry.model,
        line=line or entry.line,
        collections=tuple(entry.collections),
        on_no_match=entry.on_no_match,
        terms=_terms(entry),
    )


def _terms(entry: WayEntry) -> Terms | None:
    wanted, judge = entry.grounding, entry.judge
    terms = Terms(
        entry.no_match_reply,
        entry.no_match_text or "",
        entry.fallback_model,
        Grounding(wanted.least, wanted.numbers, wanted.action) if wanted is not None else None,
        judge.model if judge is not None else None,
        judge.share if judge is not None else 0.0,
        entry.match_over,
    )
    return None if terms == Terms() else terms


def _ways(use: UseEntry) -> Iterator[tuple[float, Way]]:
    """The rule's ways, each with the upper end of its share of [0, 1); a canary comes first."""
    if use.canary is not None:
        yield use.canary.share, _way(use, use.canary.model, use.canary.line)
    if not use.targets:
        yield 1.0, _way(use)
        return
    total = sum(target.weight for target in use.targets)
    end = 0.0
    for target in use.targets:
        end += target.weight / total
        yield end, _way(use, target.model, target.line)


def _copy(use: UseEntry) -> Copy | None:
    shadow = use.shadow
    if shadow is None:
        return None
    return Copy(_way(shadow), shadow.share, nano_from_usd(str(shadow.monthly_budget_usd)))


def _limits(use: UseEntry) -> CallLimits | None:
    times = use.timeouts
    limits = CallLimits(
        connect_seconds=times.connect,
        first_byte_seconds=times.first_byte,
        first_token_seconds=times.first_token,
        between_seconds=times.between,
        total_seconds=times.total,
        deadline_seconds=use.deadline,
        attempts=use.attempts,
    )
    return None if limits == CallLimits() else limits


def _parameters(use: UseEntry) -> Parameters | None:
    made = Parameters(_pairs(use.defaults), _pairs(use.caps))
    return None if made == Parameters() else made


def _pairs(entry: ParametersEntry) -> tuple[tuple[str, float], ...]:
    return tuple((name, value) for name, value in entry.model_dump(exclude_none=True).items())
