"""What a condition is. Each stands in a file of its own under `conditions/`, named as its key in the YAML."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.core.call import Call, Principal
from gateway.core.decision import Facts, NeedsKnowledge

Check = Callable[[Call, Principal, Facts], bool | NeedsKnowledge]


@dataclass(frozen=True, slots=True)
class Condition:
    """One key that may stand under `when`.

    value: the annotation that a written value must satisfy; Pydantic turns it into faults and a schema.
    compile: the value as a check. A check is pure, takes a microsecond or less, and answers with
    NeedsKnowledge when it cannot tell before someone has looked into collections.
    observed: what the condition saw, for `explain`.
    """

    summary: str
    example: str
    value: Any
    compile: Callable[[Any], Check]
    observed: Callable[[Call, Principal, Facts], object]


def one_or_many(value: object) -> object:
    """A single word where a list is meant; people write both."""
    return [value] if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value
