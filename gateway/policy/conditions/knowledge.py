"""Whether collections hold an answer to the last user turn."""

from typing import Annotated

from pydantic import Field

from gateway.core.call import Call, Principal
from gateway.core.decision import Facts, NeedsKnowledge
from gateway.core.document import Written
from gateway.policy.condition import Check, Condition


class Held(Written):
    """Collections that may hold the answer, and how sure the retrieval must be (0 to 1)."""

    collections: Annotated[list[str], Field(min_length=1)]
    score_over: Annotated[float, Field(ge=0, le=1)]


def _compile(wanted: Held) -> Check:
    collections = tuple(wanted.collections)
    limit = wanted.score_over

    def check(call: Call, _principal: Principal, facts: Facts) -> bool | NeedsKnowledge:
        if not call.text or call.endpoint not in {"chat", "responses"}:
            return False
        signal = facts.signal(collections)
        return NeedsKnowledge(collections) if signal is None else signal.score > limit

    return check


CONDITION = Condition(
    summary="the best passage in these collections, as far as the team may read them, scores above this",
    example="knowledge: {collections: [help-centre], score_over: 0.5}",
    value=Held,
    compile=_compile,
    observed=lambda _call, _principal, facts: {
        ",".join(names): round(signal.score, 3) for names, signal in facts.knowledge
    },
)
