"""What a condition is. Each stands in a file of its own under `conditions/`, named as its key in the YAML."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from gateway.core.facts import Needs
from gateway.policy.catalogue import Catalogue
from gateway.policy.seen import Seen

Check = Callable[[Seen], bool | Needs]


class Cost(IntEnum):
    """What a check looks at; the cheap ones are made first, wherever they stand.

    NAME: compares what `Names` holds; which rules these let through is worked out once for equal names.
    FEATURE: numbers of the call and facts at hand. TEXT: reads the last user turn. TASK, KNOWLEDGE: a signal that
    somebody has to look up.
    """

    NAME = 0
    FEATURE = 1
    TEXT = 2
    TASK = 3
    KNOWLEDGE = 4


@dataclass(frozen=True, slots=True)
class Part:
    """One compiled key under `when`. groups: of `all`, `any` and `not` their own parts."""

    key: str
    cost: Cost
    check: Check
    groups: tuple[tuple["Part", ...], ...] = ()


@dataclass(slots=True)
class Compiling:
    """What the conditions of one policy want to be looked up, gathered while they are compiled."""

    catalogue: Catalogue
    patterns: list[str] = field(default_factory=list)
    collections: set[tuple[str, ...]] = field(default_factory=set)
    lines: set[str] = field(default_factory=set)
    metadata_keys: set[str] = field(default_factory=set)
    header_names: set[bytes] = field(default_factory=set)

    def pattern(self, text: str) -> int:
        """The number of a text pattern; the same pattern has one number."""
        if text not in self.patterns:
            self.patterns.append(text)
        return self.patterns.index(text)


@dataclass(frozen=True, slots=True)
class Condition:
    """One key that may stand under `when`.

    value: the annotation that a written value must satisfy; Pydantic turns it into faults and a schema.
    compile: the value as a check. A check is pure, takes a microsecond or less, and answers with what it needs
    when it cannot tell before someone has looked that up.
    observed: what the condition saw, for `explain`; never the words of a message.
    covers(wide, narrow): whether a call that satisfies the value `narrow` surely satisfies `wide`.
    excludes(one, other): whether no call can satisfy both values.
    always: whether every call satisfies a value, so that writing it says nothing.
    """

    summary: str
    example: str
    value: Any
    compile: Callable[[Any, Compiling], Check]
    observed: Callable[[Seen], object]
    cost: Cost = Cost.FEATURE
    covers: Callable[[Any, Any], bool] = operator.eq
    excludes: Callable[[Any, Any], bool] = lambda _one, _other: False
    always: Callable[[Any], bool] = lambda _value: False


def one_or_many(value: object) -> object:
    """A single word where a list is meant; people write both."""
    return [value] if isinstance(value, (str, int, float)) and not isinstance(value, bool) else value


def holds_all(wide: list[str], narrow: list[str]) -> bool:
    """`covers` of a condition whose value lists what is allowed."""
    return set(narrow) <= set(wide)


def share_none(one: list[str], other: list[str]) -> bool:
    """`excludes` of a condition whose value lists what is allowed."""
    return not set(one) & set(other)


def fewer_pairs(wide: dict[str, str], narrow: dict[str, str]) -> bool:
    """`covers` of a condition whose value names pairs that must all be there."""
    return wide.items() <= narrow.items()


def contradict(one: dict[str, str], other: dict[str, str]) -> bool:
    """`excludes` of a condition whose value names pairs that must all be there."""
    return any(other.get(key, value) != value for key, value in one.items())
