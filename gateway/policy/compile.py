"""From what people wrote to what decides: every fault found, all at once, with its place."""

from collections.abc import Iterator

from gateway.core.call import Call, Principal
from gateway.core.decision import Facts
from gateway.core.document import Document
from gateway.core.errors import BadConfiguration
from gateway.policy.catalogue import AUTO, Catalogue, Way
from gateway.policy.condition import Check
from gateway.policy.decide import NAMED, SERVES, Policy, Rule
from gateway.policy.routing_file import CONDITIONS, RoutingFile, RuleEntry, UseEntry, WayEntry


def compile_policy(routing: RoutingFile, document: Document, catalogue: Catalogue, policy_hash: str) -> Policy:
    """The policy. Raises BadConfiguration with every fault as file:line:column."""
    faults = list(_faults(routing, document, catalogue))
    if faults:
        raise BadConfiguration(faults)
    rules = []
    asks = set()
    metadata: set[str] = set()
    headers: set[bytes] = set()
    for number, entry in enumerate(routing.rules):
        written = document.data["rules"][number].get("when") or {}
        rules.append(_rule(entry, list(written)))
        if "knowledge" in written:
            asks.add(tuple(written["knowledge"]["collections"]))
        metadata.update(written.get("metadata", ()))
        headers.update(name.lower().encode() for name in written.get("header", ()))
    return Policy(
        hash=policy_hash,
        rules=tuple(rules),
        catalogue=catalogue,
        tests=tuple(routing.tests),
        asks_knowledge=frozenset(asks),
        metadata_keys=frozenset(metadata),
        header_names=frozenset(headers),
    )


def _rule(entry: RuleEntry, written: list[str]) -> Rule:
    # Names first, look-ups last, wherever they stand: a rule that a plain condition settles must not pay for more.
    keys = sorted(written, key=lambda key: (key not in NAMED, key == "knowledge"))
    checks = [CONDITIONS[key].compile(getattr(entry.when, key)) for key in keys]
    named = sum(key in NAMED for key in keys)
    if entry.use is None:
        return Rule(entry.name, tuple(keys), tuple(checks), named, refusal=entry.refuse)
    endpoints = SERVES.get(entry.use.path)
    if endpoints is not None:
        keys.insert(0, "endpoint")
        checks.insert(0, _serves(endpoints))
        named += 1
    return Rule(
        name=entry.name,
        keys=tuple(keys),
        checks=tuple(checks),
        named=named,
        ways=tuple(_ways(entry.use)),
        fallbacks=tuple(_way(fallback) for fallback in entry.use.fallback),
    )


def _serves(endpoints: frozenset[str]) -> Check:
    def check(call: Call, _principal: Principal, _facts: Facts) -> bool:
        return call.endpoint in endpoints

    return check


def _way(entry: WayEntry, model: str | None = None, line: str | None = None) -> Way:
    return Way(
        path=entry.path,
        model=model or entry.model,
        line=line or entry.line,
        collections=tuple(entry.collections),
        on_no_match=entry.on_no_match,
    )


def _ways(use: UseEntry) -> Iterator[tuple[float, Way]]:
    if not use.targets:
        yield 1.0, _way(use)
        return
    total = sum(target.weight for target in use.targets)
    end = 0.0
    for target in use.targets:
        end += target.weight / total
        yield end, _way(use, target.model, target.line)


def _faults(routing: RoutingFile, document: Document, catalogue: Catalogue) -> Iterator[str]:
    seen: set[str] = set()
    last = len(routing.rules) - 1
    for number, rule in enumerate(routing.rules):
        place = ("rules", number)
        if rule.name in seen:
            yield document.fault((*place, "name"), f"rule {rule.name!r} stands twice; names must differ.")
        seen.add(rule.name)
        written = document.data["rules"][number].get("when")
        if not written and number < last:
            yield document.fault(place, f"rule {rule.name!r} holds for every call, so the rules below it never do.")
        if written and number == last:
            yield document.fault(place, f"the last rule, {rule.name!r}, must have no `when`: it takes the other calls.")
        if written and "knowledge" in written:
            names = written["knowledge"]["collections"]
            yield from _unknown(names, document, (*place, "when", "knowledge", "collections"), catalogue)
        if rule.use is not None:
            yield from _use_faults(rule.use, document, (*place, "use"), catalogue)


def _use_faults(use: UseEntry, document: Document, place: tuple[str | int, ...], catalogue: Catalogue) -> Iterator[str]:
    ways: list[tuple[WayEntry, tuple[str | int, ...]]] = [(use, place)]
    ways += [(fallback, (*place, "fallback", index)) for index, fallback in enumerate(use.fallback)]
    for way, here in ways:
        yield from _unknown(way.collections, document, (*here, "collections"), catalogue)
        if way.line and not catalogue.knows_line(way.line):
            yield document.fault((*here, "line"), f"{way.line!r} is no line, or no version of one, in models.yaml.")
        if way.model and not catalogue.knows_model(way.model):
            yield document.fault((*here, "model"), _unknown_model(way.model))
    for index, target in enumerate(use.targets):
        here = (*place, "targets", index)
        if target.line and not catalogue.knows_line(target.line):
            yield document.fault((*here, "line"), f"{target.line!r} is no line, or no version of one, in models.yaml.")
        if target.model and not catalogue.knows_model(target.model):
            yield document.fault((*here, "model"), _unknown_model(target.model))


def _unknown(
    collections: list[str], document: Document, place: tuple[str | int, ...], catalogue: Catalogue
) -> Iterator[str]:
    for index, name in enumerate(collections):
        if name not in catalogue.knowledge.collections:
            yield document.fault((*place, index), f"collection {name!r} is not in knowledge.yaml.")


def _unknown_model(name: str) -> str:
    if name == AUTO:
        return "'auto' is what callers say to leave the choice to this file; name the model here."
    return f"model {name!r} is not in models.yaml, and there is no '*'."
