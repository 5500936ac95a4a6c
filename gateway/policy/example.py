"""Calls that somebody wrote down: as a test, for `policy explain`, for `POST /admin/explain`."""

from datetime import UTC, datetime

from gateway.core.call import Call, Inbound, Principal, Turn
from gateway.core.facts import Facts, KnowledgeSignal, TaskSignal
from gateway.policy.decide import Policy
from gateway.policy.written_call import CallEntry


def example_call(entry: CallEntry) -> tuple[Call, Principal]:
    """A call as a test or `policy explain` writes it, as if it had come in over HTTP."""
    headers = tuple(
        (name.lower().encode(errors="replace"), value.encode(errors="replace")) for name, value in entry.headers.items()
    )
    inbound = Inbound("POST", f"/v1/{entry.endpoint}", b"", b"", headers, b"", "req_example", 0.0)
    system = (Turn("system", entry.system),) if entry.system else ()
    earlier = tuple(Turn("assistant" if number % 2 else "user", "") for number in range(entry.turns - 1, 0, -1))
    tokens = entry.prompt_tokens
    call = Call(
        inbound=inbound,
        endpoint=entry.endpoint,
        model=entry.model,
        stream=entry.stream,
        turns=(*system, *earlier, Turn("user", entry.text)),
        text=entry.text,
        has_tools=entry.has_tools,
        has_image=entry.has_image,
        response_format=entry.response_format,
        rag_ready=bool(entry.text),
        metadata=tuple(sorted(entry.metadata.items())),
        prompt_bytes=_bytes(entry.text) + _bytes(entry.system) if tokens is None else tokens * 4,
        asked_path=entry.path,
        user=entry.user,
        conversation=entry.conversation,
    )
    return call, Principal(team=entry.team, key_id="key_example", key_name=entry.key)


def _bytes(text: str) -> int:
    # JSON may hold half a surrogate pair, which strict UTF-8 refuses.
    return len(text.encode(errors="replace"))


def example_facts(entry: CallEntry, now: float, policy: Policy) -> Facts:
    """Facts for a written call whose signals are given by hand: what is not named scores 0."""
    moment = now if entry.at is None else entry.at.timestamp()
    return Facts(
        now=moment,
        today=datetime.fromtimestamp(moment, UTC).date(),
        draw=entry.draw,
        budget_used=entry.budget_used,
        knowledge=given_knowledge(entry, policy),
        tasks=given_tasks(entry, policy),
    )


def given_knowledge(entry: CallEntry, policy: Policy) -> tuple[tuple[tuple[str, ...], KnowledgeSignal], ...]:
    """The knowledge signals that a written call names."""
    given = entry.knowledge_score
    known = []
    for collections in sorted(policy.asks_knowledge):
        scores = [given.get(name, 0.0) for name in collections] if isinstance(given, dict) else [given or 0.0]
        known.append((collections, KnowledgeSignal(score=max(scores))))
    return tuple(known)


def given_tasks(entry: CallEntry, policy: Policy) -> tuple[TaskSignal, ...]:
    """The task signals that a written call names."""
    return tuple(TaskSignal(line, entry.task_score.get(line, 0.0)) for line in sorted(policy.asks_tasks))
