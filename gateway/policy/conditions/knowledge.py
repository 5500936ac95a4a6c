"""Whether collections hold an answer to the last user turn."""

from typing import Annotated

from pydantic import Field

from gateway.core.document import Written
from gateway.core.facts import NeedsKnowledge
from gateway.policy.condition import Check, Compiling, Condition, Cost
from gateway.policy.seen import Seen


class Held(Written):
    """Collections that may hold the answer, and how sure it must be that they do (0 to 1)."""

    collections: Annotated[list[str], Field(min_length=1)]
    score_over: Annotated[float, Field(ge=0, le=1)] = 0.5


def _compile(wanted: Held, compiling: Compiling) -> Check:
    collections = tuple(wanted.collections)
    compiling.collections.add(collections)
    limit = wanted.score_over

    def check(seen: Seen) -> bool | NeedsKnowledge:
        if not seen.features.characters or seen.names.endpoint not in {"chat", "responses"}:
            return False
        score = seen.knowledge(collections)
        return NeedsKnowledge(collections) if score is None else score > limit

    return check


def _observed(seen: Seen) -> object:
    return {",".join(names): round(seen.knowledge_score(signal), 3) for names, signal in seen.facts.knowledge}


CONDITION = Condition(
    summary="these collections, as far as the team may read them, hold the answer: the score is above this",
    example="knowledge: {collections: [help-centre], score_over: 0.5}",
    value=Held,
    compile=_compile,
    observed=_observed,
    cost=Cost.KNOWLEDGE,
    covers=lambda wide, narrow: wide.collections == narrow.collections and wide.score_over <= narrow.score_over,
)
