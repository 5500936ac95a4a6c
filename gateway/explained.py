"""Why a call goes, or went, where it does: for a call that somebody writes down, and for one that was recorded."""

import msgspec

from gateway.core.call import Call, Principal
from gateway.core.decision import Decision
from gateway.core.errors import GatewayError, KnowledgeUnavailable
from gateway.core.facts import Facts, KnowledgeSignal, NeedsKnowledge
from gateway.ledger.records import DecisionRecord
from gateway.paths.lookups import LookUps
from gateway.policy.decide import AS_NAMED, Policy, decide_as_named, decide_seen
from gateway.policy.example import example_call, example_facts
from gateway.policy.explain import Explained, explain
from gateway.policy.seen import Seen
from gateway.policy.written_call import CallEntry


async def decide_looking(
    policy: Policy, call: Call, principal: Principal, facts: Facts, decision_id: str, lookups: LookUps
) -> tuple[Decision, Facts]:
    """The decision, and the facts it stands on. Nothing is looked up before a rule asks for it.

    A rule that says who answers while sources cannot be searched holds then as if they had been found; without one
    nothing can be decided. Raises ModelNotFound (404), KnowledgeUnavailable (503).
    """
    seen = policy.seen(call, principal, facts)
    if principal.is_exact:
        return decide_as_named(policy, seen, decision_id), facts
    away: KnowledgeUnavailable | None = None
    while not isinstance(found := decide_seen(policy, seen, decision_id, principal), Decision):
        try:
            seen.facts = await lookups.answered(found, call, principal, seen.facts)
        except KnowledgeUnavailable as fault:
            if not isinstance(found, NeedsKnowledge):
                raise
            away = fault
            nothing = KnowledgeSignal(1.0, is_away=True)
            seen.facts = msgspec.structs.replace(
                seen.facts, knowledge=(*seen.facts.knowledge, (found.collections, nothing))
            )
    if away is not None and not (found.arms and found.arm.terms is not None and found.arm.terms.store_down):
        raise away
    return found, seen.facts


async def explain_call(policy: Policy, entry: CallEntry, now: float, lookups: LookUps) -> Explained:
    """Where a written call would go, and why; nothing is sent, and no embedder at an upstream is asked.

    Signals that the entry gives by hand are taken as they are; the others are looked up. Raises ModelNotFound when
    its rule names nothing that exists.
    """
    lookups = lookups.paid_by_nobody()
    call, principal = example_call(entry)
    facts = example_facts(entry, now, policy)
    if entry.knowledge_score is None:
        facts = msgspec.structs.replace(facts, knowledge=())
    if not entry.task_score:
        facts = msgspec.structs.replace(facts, tasks=None)
    seen = policy.seen(call, principal, facts)
    while not isinstance(found := decide_seen(policy, seen, "dec_explained", principal), Decision):
        seen.facts = await lookups.answered(found, call, principal, seen.facts, local_only=True)
    return explain(policy, found, seen)


def replay(policy: Policy, record: DecisionRecord) -> tuple[Decision, Seen]:
    """A recorded call decided again: under its recorded policy, exactly as it was."""
    trial = record.trial.drawn if record.trial is not None else None
    seen = policy.seen_again(record.names, record.features, record.facts(), record.drawn, trial)
    if record.rule == AS_NAMED:
        return decide_as_named(policy, seen, record.id), seen
    found = decide_seen(policy, seen, record.id)
    if not isinstance(found, Decision):
        # Another policy may ask for what nobody looked up then.
        raise GatewayError("This policy asks for a signal that was not looked up when the call was made.")
    return found, seen


def explain_record(policy: Policy, record: DecisionRecord) -> Explained:
    """A recorded decision in words, by running it again under the given policy."""
    return explain(policy, *replay(policy, record))
