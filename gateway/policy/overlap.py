"""Whether rules take each other's calls, as far as that can be told from what is written: never a guess.

What cannot be told is answered with no: not covered, not excluded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.policy.condition import Cost
from gateway.policy.decide import SERVES
from gateway.policy.routing_file import COMPOSED, CONDITIONS, RuleEntry, When

ENDPOINT = "endpoint"
Test = Callable[["Group"], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Conditions that must all hold, as they are compared. asked: every key in it, also in groups of groups.

    binding: the plain keys whose value does not hold for every call. looks_up: a signal must be looked up to tell.
    """

    plain: dict[str, Any]
    all: tuple["Group", ...] = ()
    any: tuple["Group", ...] = ()
    no: "Group | None" = None
    binding: frozenset[str] = field(init=False)
    asked: frozenset[str] = field(init=False)
    looks_up: bool = field(init=False)
    nested: bool = field(init=False)

    def __post_init__(self) -> None:
        inner = [*self.all, *self.any, *([self.no] if self.no is not None else [])]
        binding = frozenset(key for key, value in self.plain.items() if not CONDITIONS[key].always(value))
        object.__setattr__(self, "binding", binding)
        object.__setattr__(self, "asked", frozenset(self.plain).union(*(group.asked for group in inner)))
        object.__setattr__(self, "looks_up", any(CONDITIONS[key].cost >= Cost.TASK for key in self.asked))
        object.__setattr__(self, "nested", bool(inner))


def group_of(when: When | None) -> Group:
    """What is written under `when`."""
    if when is None:
        return Group({})
    keys = when.written()
    return Group(
        {key: when.value(key) for key in keys if key not in COMPOSED},
        tuple(group_of(group) for group in when.all or ()),
        tuple(group_of(group) for group in when.any or ()),
        group_of(when.not_) if when.not_ is not None else None,
    )


def calls_of(rule: RuleEntry) -> Group:
    """The calls that a rule takes: its conditions, and the endpoints that its path serves."""
    written = group_of(rule.when)
    served = SERVES.get(rule.use.path) if rule.use is not None else None
    if served is None:
        return written
    named = written.plain.get(ENDPOINT)
    both = sorted(served) if named is None else [one for one in named if one in served]
    return Group({**written.plain, ENDPOINT: both}, written.all, written.any, written.no)


def covers(wide: Group, narrow: Group) -> bool:
    """Whether every call of `narrow` surely is one of `wide`."""
    if not narrow.nested and not wide.nested:
        return _plainly_covers(wide, narrow)
    return _Comparison().covers(wide, narrow)


def excludes(one: Group, other: Group) -> bool:
    """Whether surely no call is one of both."""
    if not one.nested and not other.nested:
        return _plainly_excludes(one, other)
    return _Comparison().excludes(one, other)


def is_empty(group: Group) -> bool:
    """Whether surely no call satisfies the group: its own conditions contradict each other."""
    return group.plain.get(ENDPOINT) == [] or (group.nested and _Comparison().excludes(group, group))


def _plainly_covers(wide: Group, narrow: Group) -> bool:
    return wide.binding <= narrow.plain.keys() and all(
        CONDITIONS[key].covers(wide.plain[key], narrow.plain[key]) for key in wide.binding
    )


def _plainly_excludes(one: Group, other: Group) -> bool:
    return any(
        key in other.plain and CONDITIONS[key].excludes(value, other.plain[key]) for key, value in one.plain.items()
    )


class _Comparison:
    """Of two groups with groups in them. Remembers what it has compared: nesting would multiply the work."""

    def __init__(self) -> None:
        self._covered: dict[tuple[int, int], bool] = {}
        self._excluded: dict[tuple[int, int], bool] = {}

    def covers(self, wide: Group, narrow: Group) -> bool:
        key = (id(wide), id(narrow))
        if key not in self._covered:
            self._covered[key] = self._covers(wide, narrow)
        return self._covered[key]

    def excludes(self, one: Group, other: Group) -> bool:
        key = (id(one), id(other))
        if key not in self._excluded:
            self._excluded[key] = self._excludes(one, other)
        return self._excluded[key]

    def _covers(self, wide: Group, narrow: Group) -> bool:
        return (
            all(_follows(_plain_test(key, wide.plain[key]), narrow) for key in wide.binding)
            and all(self.covers(group, narrow) for group in wide.all)
            and (not wide.any or _follows(lambda group: any(self.covers(one, group) for one in wide.any), narrow))
            and (wide.no is None or _follows(self._not_test(wide.no), narrow))
        )

    def _not_test(self, no: Group) -> Test:
        return lambda group: self.excludes(no, group) or (group.no is not None and self.covers(group.no, no))

    def _excludes(self, one: Group, other: Group) -> bool:
        return _plainly_excludes(one, other) or self._denies(one, other) or self._denies(other, one)

    def _denies(self, one: Group, other: Group) -> bool:
        """Whether a group within `one` leaves no call of `other`."""
        return (
            any(self.excludes(group, other) for group in one.all)
            or (bool(one.any) and all(self.excludes(group, other) for group in one.any))
            or (one.no is not None and self.covers(one.no, other))
        )


def _plain_test(key: str, value: Any) -> Test:
    return lambda group: key in group.plain and CONDITIONS[key].covers(value, group.plain[key])


def _follows(test: Test, narrow: Group) -> bool:
    """Whether what is tested follows from a group, from one of its `all`, or from each of its `any`."""
    return (
        test(narrow)
        or any(_follows(test, group) for group in narrow.all)
        or (bool(narrow.any) and all(_follows(test, group) for group in narrow.any))
    )
